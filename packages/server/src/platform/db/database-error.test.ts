import { describe, expect, it } from 'vitest'
import { translateDatabaseError } from './database-error.ts'
import { describeDatabase } from './describe-database.ts'

const failure = (message: string, fields: object) => Object.assign(new Error(message), fields)
const translate = (error: unknown) => translateDatabaseError(error, 'db.example:5432/app')

describe('translateDatabaseError', () => {
  it.each([
    [failure('connect ECONNREFUSED', { code: 'ECONNREFUSED' }), 'DATABASE_UNREACHABLE'],
    [failure('the database system is starting up', { code: '57P03', severity: 'FATAL' }), 'DATABASE_UNREACHABLE'],
    [failure('timeout exceeded when trying to connect', {}), 'DATABASE_UNREACHABLE'],
    [failure('password authentication failed', { code: '28P01', severity: 'FATAL' }), 'DATABASE_REFUSED'],
    [failure('database "app" does not exist', { code: '3D000', severity: 'FATAL' }), 'DATABASE_REFUSED'],
  ])('says where %s', (error, code) => {
    expect(translate(error)).toMatchObject({ code, message: expect.stringContaining('db.example:5432/app') })
  })

  it('reads the code and remedy of our own SQL', () => {
    const error = failure('INPUT_TOO_LARGE: input_data is 2 bytes, the limit is 1', {
      code: 'JB001',
      hint: 'Use a dataset.',
    })
    expect(translate(error)).toMatchObject({
      code: 'INPUT_TOO_LARGE',
      message: 'input_data is 2 bytes, the limit is 1. Use a dataset.',
    })
  })

  it.each([
    failure('permission denied for table', { code: '42501', severity: 'ERROR' }),
    failure('SOMETHING_ELSE: x', { code: 'JB999' }),
    failure('duplicate key', { code: '23505' }),
    'not an error',
  ])('leaves %s as it is', (error) => {
    expect(translate(error)).toBe(error)
  })
})

describe('describeDatabase', () => {
  it.each([
    ['postgresql://user:secret@db.example:6543/app', 'db.example:6543/app'],
    ['postgresql://user:secret@localhost:5432/app?host=%2Frun%2Fpg', '/run/pg:5432/app'],
  ])('of %s shows no password', (url, description) => {
    expect(describeDatabase(url)).toBe(description)
  })
})
