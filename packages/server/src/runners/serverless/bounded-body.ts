import { Transform } from 'node:stream'

/** The answer is larger than allowed; what came of it is dropped. */
export class ResponseTooLargeError extends Error {
  readonly maxBytes: number
  constructor(maxBytes: number) {
    super(`the answer is larger than ${maxBytes} bytes`)
    this.maxBytes = maxBytes
  }
}

/** Passes bytes on until there are too many. */
export function boundedStream(maxBytes: number): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > maxBytes) done(new ResponseTooLargeError(maxBytes))
      else done(null, chunk)
    },
  })
}
