/** The CPU backend: the C kernels of ffi/cpu. */
import type { Pointer } from "bun:ffi"
import { allocHost, freeHost, type HostMemory } from "../../ffi/host.ts"
import { abiOf, checkStatus, native, openContext } from "../../ffi/library.ts"
import { bindOps, STRUCT_BYTES } from "../../ffi/ops.gen.ts"
import { assert } from "../errors.ts"
import type { ByteSource } from "../gguf/types.ts"
import { IQ2XXS_GRID } from "../quant/tables.ts"
import { type Backend, packedIndexBytes, packedKvBytes } from "./backend.ts"
import type { DeviceBuffer, Tensor } from "./tensor.ts"

export interface CpuOptions {
  /** Threads, the caller's included; 0 or absent: one per physical core. */
  threads?: number | undefined
  /** Instruction set by name (`scalar`, `avx2`, `neon`, …); absent: the best of this machine. */
  isa?: string | undefined
}

/** Opens the CPU; the library has been loaded (ffi/library.ts: openLibrary).
 *  @throws NativeError if the instruction set is not here */
export function openCpu(options: CpuOptions = {}): Backend {
  const k = native()
  const ctx = openContext(k, { ...options, grid: IQ2XXS_GRID })
  const { isa, threads } = abiOf(k, ctx)
  const args = allocHost(Math.max(...Object.values(STRUCT_BYTES)), "op arguments")
  const memory = args.bytesAt(0, args.bytes).buffer as ArrayBuffer
  const check = (status: number) => {
    if (status !== 0) checkStatus(k, status, ctx)
  }
  let open = true
  return {
    name: "cpu",
    description: `CPU, ${isa}, ${threads} thread${threads === 1 ? "" : "s"}`,
    kernels: bindOps<Tensor>(k, ctx as never, args.address as Pointer as never, memory, check),
    alloc: allocHost,
    free: (buffer) => freeHost(buffer as HostMemory),
    map: mapped,
    kvRowBytes: packedKvBytes,
    indexRowBytes: packedIndexBytes,
    read: (buffer, offset, into) => into.set(view(buffer, offset, into.byteLength)),
    write: (buffer, offset, from) => view(buffer, offset, from.byteLength).set(from),
    close() {
      if (open) {
        k.ds4_close(ctx)
        freeHost(args)
      }
      open = false
    },
  }
}

/** The device is the host: a mapped file is a buffer as it is. */
function mapped(source: ByteSource): DeviceBuffer {
  return {
    address: source.address(0),
    bytes: source.size,
    bytesAt: (offset, length) => source.bytes(offset, length),
  }
}

function view(buffer: DeviceBuffer, offset: number, length: number): Uint8Array {
  assert(buffer.bytesAt, "a buffer of the CPU can be seen")
  return buffer.bytesAt(offset, length)
}
