/** Memory and files of the host, through the native library. Views are made when asked for and must
 *  not be kept (runtime notes, 4.3). */
import { type Pointer, ptr, toArrayBuffer } from "bun:ffi"
import { ContextError, NativeError } from "../src/errors.ts"
import type { ByteSource } from "../src/gguf/types.ts"
import { checkStatus, native } from "./library.ts"

/** The most bytes that one view can hold. */
const MAX_VIEW = 2 ** 32

/** A piece of memory outside the JavaScript heap. */
export interface HostMemory {
  readonly address: number
  readonly bytes: number
  /** A zero-copy view of at most 4 GiB. */
  bytesAt(offset: number, length: number): Uint8Array
}

function viewOf(what: string, address: number, bytes: number): HostMemory["bytesAt"] {
  return (offset, length) => {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length)
    if (!whole || offset < 0 || length < 0 || offset > bytes - length)
      throw new NativeError(`Cannot view ${length} bytes of ${what} at ${offset}: it has ${bytes}`)
    if (length > MAX_VIEW)
      throw new NativeError(`Cannot view ${length} bytes of ${what}: a view holds at most 4 GiB`)
    if (length === 0) return new Uint8Array(0)
    return new Uint8Array(toArrayBuffer((address + offset) as Pointer, 0, length))
  }
}

/** Zeroed memory, 64-byte aligned, committed when touched. @throws ContextError without enough */
export function allocHost(bytes: number, what: string): HostMemory {
  const address = Number(native().ds4_alloc(Math.max(bytes, 1)))
  if (address === 0) throw new ContextError(`Cannot allocate ${bytes} bytes for ${what}`)
  return { address, bytes, bytesAt: viewOf(what, address, bytes) }
}

export function freeHost(memory: HostMemory): void {
  native().ds4_free(memory.address as Pointer, Math.max(memory.bytes, 1))
}

/** Copies bytes between any two host addresses. */
export function copyHost(to: number, from: number, bytes: number): void {
  native().ds4_copy(to as Pointer, from as Pointer, bytes)
}

/** Maps a file read-only. A file that shrinks while it is mapped ends the process with exit code 74.
 *  @throws NativeError for a file that is missing, empty, a folder or not readable; the message has the
 *  path */
export function mapFile(path: string): ByteSource {
  const k = native()
  const name = new TextEncoder().encode(path)
  const out = new BigUint64Array(2)
  const at = ptr(out)
  checkStatus(k, k.ds4_map_file(at, (at + 8) as Pointer, name, name.byteLength), null)
  const address = Number(out[0])
  const size = Number(out[1])
  const view = viewOf(path, address, size)
  let open = true
  function mustBeOpen(): void {
    if (!open) throw new NativeError(`Cannot read ${path}: it is closed`)
  }
  return {
    name: path,
    size,
    bytes(offset, length) {
      mustBeOpen()
      return view(offset, length)
    },
    address(offset) {
      mustBeOpen()
      return address + offset
    },
    close() {
      if (open) k.ds4_unmap(address as Pointer, size)
      open = false
    },
  }
}

export const ADVICE = { normal: 0, random: 1, sequential: 2, willNeed: 3, dontNeed: 4 } as const

/** Tells the kernel how a piece of a mapping will be read. */
export function adviseHost(address: number, bytes: number, kind: keyof typeof ADVICE): void {
  const k = native()
  checkStatus(k, k.ds4_advise(address as Pointer, bytes, ADVICE[kind]), null)
}
