/** Processors that the program below is written for, by the names that engines give them, and its code there. */
const CODES: Record<string, { machine: number; code: readonly number[] }> = {
  // mov eax, 34 (pause); syscall; jmp back
  x86_64: { machine: 62, code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // mov x0..x4, #0; mov x8, #73 (ppoll); svc #0; b back
  aarch64: {
    machine: 183,
    code: [
      ...[0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80, 0xd2],
      ...[0x04, 0x00, 0x80, 0xd2, 0x28, 0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xf9, 0xff, 0xff, 0x17],
    ],
  },
}
const ALIASES: Record<string, string> = { amd64: 'x86_64', arm64: 'aarch64' }

const HEADER_BYTES = 64
const SEGMENT_BYTES = 56
const LOAD_ADDRESS = 0x400000n

/** A program of some hundred bytes that waits until it is killed, for a processor; null where there is none for it. */
export function holdProgram(architecture: string): Buffer | null {
  const target = CODES[ALIASES[architecture] ?? architecture]
  if (target === undefined) return null
  const begin = HEADER_BYTES + SEGMENT_BYTES
  const file = Buffer.alloc(begin + target.code.length)
  file.write('\u007fELF', 'latin1')
  file.set([2, 1, 1], 4) // 64 bits, little-endian, version 1
  file.writeUInt16LE(2, 16) // an executable
  file.writeUInt16LE(target.machine, 18)
  file.writeUInt32LE(1, 20)
  file.writeBigUInt64LE(LOAD_ADDRESS + BigInt(begin), 24) // where it starts
  file.writeBigUInt64LE(BigInt(HEADER_BYTES), 32) // where its segments are described
  file.writeUInt16LE(HEADER_BYTES, 52)
  file.writeUInt16LE(SEGMENT_BYTES, 54)
  file.writeUInt16LE(1, 56)
  file.writeUInt32LE(1, 64) // to be loaded,
  file.writeUInt32LE(5, 68) // readable and executable
  file.writeBigUInt64LE(LOAD_ADDRESS, 80)
  file.writeBigUInt64LE(LOAD_ADDRESS, 88)
  file.writeBigUInt64LE(BigInt(file.length), 96)
  file.writeBigUInt64LE(BigInt(file.length), 104)
  file.writeBigUInt64LE(0x1000n, 112)
  file.set(target.code, begin)
  return file
}
