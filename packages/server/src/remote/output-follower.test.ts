import { describe, expect, test } from 'vitest'
import { OUTPUT_START, type OutputPosition } from '../control/read-output.ts'
import { OutputFollower } from './output-follower.ts'

type Told = [stream: 'stdout' | 'stderr', attempt: number, offset: number, text: string]

function follow(from: Partial<OutputPosition>, told: Told[]): string[] {
  const follower = new OutputFollower({ ...OUTPUT_START, ...from })
  return told.flatMap(([stream, attempt, offset, text]) => {
    const chunk = follower.take(stream, { attempt, offset, text })
    return chunk === null ? [] : [`${chunk.stream} ${chunk.attempt}:${chunk.offset} ${chunk.bytes.toString('utf8')}`]
  })
}

describe('output that a stream tells from the beginning', () => {
  test('comes as it is to a reader who has none', () => {
    expect(
      follow({}, [
        ['stdout', 1, 0, 'ab'],
        ['stderr', 1, 0, 'x'],
        ['stdout', 1, 2, 'c'],
      ]),
    ).toEqual(['stdout 1:0 ab', 'stderr 1:0 x', 'stdout 1:2 c'])
  })

  test('is cut at what the reader has', () => {
    expect(
      follow({ attempt: 1, stdout: 3 }, [
        ['stdout', 1, 0, 'ab'],
        ['stdout', 1, 2, 'cd'],
        ['stderr', 1, 0, 'x'],
        ['stdout', 1, 4, 'e'],
      ]),
    ).toEqual(['stdout 1:3 d', 'stderr 1:0 x', 'stdout 1:4 e'])
  })

  test('counts bytes, not characters', () => {
    expect(
      follow({ attempt: 1, stdout: 2 }, [
        ['stdout', 1, 0, 'é'],
        ['stdout', 1, 2, 'f'],
      ]),
    ).toEqual(['stdout 1:2 f'])
  })

  test('of another attempt, and of one that begins anew, comes from its beginning', () => {
    expect(
      follow({ attempt: 1, stdout: 2 }, [
        ['stdout', 1, 0, 'abc'],
        ['stderr', 1, 0, 'x'],
        ['stdout', 1, 0, 'abc'],
        ['stderr', 1, 0, 'x'],
        ['stdout', 2, 0, 'z'],
        ['stdout', 1, 3, 'late'],
      ]),
    ).toEqual(['stdout 1:2 c', 'stderr 1:0 x', 'stdout 1:0 abc', 'stderr 1:0 x', 'stdout 2:0 z'])
  })
})
