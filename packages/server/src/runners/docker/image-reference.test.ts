import { describe, expect, it } from 'vitest'
import { isPinnedImage, parseReference, registryOf } from './image-reference.ts'

const digest = `sha256:${'a'.repeat(64)}`

describe('a reference', () => {
  it.each([
    ['app', { name: 'app', tag: null, digest: null }, 'https://index.docker.io/v1/'],
    ['team/app:1', { name: 'team/app', tag: '1', digest: null }, 'https://index.docker.io/v1/'],
    ['127.0.0.1:5000/app', { name: '127.0.0.1:5000/app', tag: null, digest: null }, '127.0.0.1:5000'],
    [`example.org/a/b:2@${digest}`, { name: 'example.org/a/b', tag: '2', digest }, 'example.org'],
    [`localhost/app@${digest}`, { name: 'localhost/app', tag: null, digest }, 'localhost'],
  ])('%s', (text, parts, registry) => {
    expect(parseReference(text)).toEqual(parts)
    expect(registryOf(parseReference(text))).toBe(registry)
  })
})

it('is the pinned one by the digest of its manifest or by its id, and by no part of them', () => {
  const other = `sha256:${'b'.repeat(64)}`
  expect(isPinnedImage({ Id: other, RepoDigests: [`app@${digest}`] }, digest)).toBe(true)
  expect(isPinnedImage({ Id: digest }, digest)).toBe(true)
  expect(isPinnedImage({ Id: other, RepoDigests: [`app@${other}`] }, digest)).toBe(false)
  expect(isPinnedImage({ Id: other, RepoDigests: null }, digest)).toBe(false)
})
