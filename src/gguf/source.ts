import { ptr } from "bun:ffi"
import { GgufError } from "../errors.ts"
import type { ByteSource } from "./types.ts"

/** A model in memory, for instance one embedded in the executable. */
export function bytesSource(data: Uint8Array, name = "memory"): ByteSource {
  // A Buffer's slice() is no copy, unlike a Uint8Array's; so it is seen as one.
  let open: Uint8Array | undefined = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  function at(offset: number, length: number): Uint8Array {
    if (!open) throw new GgufError(`Cannot read ${name}: it is closed`)
    checkRange(name, open.byteLength, offset, length)
    return open
  }
  return {
    name,
    size: data.byteLength,
    bytes: (offset, length) => at(offset, length).subarray(offset, offset + length),
    address: (offset) => ptr(at(offset, 1)) + offset,
    close() {
      open = undefined
    },
  }
}

/** Refuses a read outside the file, before it becomes a read outside the mapping. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length)
  if (!whole || offset < 0 || length < 0 || offset > size - length)
    throw new GgufError(`Cannot read ${length} bytes of ${name}: it has ${size} bytes`, offset)
}
