/** What a machine must offer: memory, and the ops of ffi/ops.gen.ts. Only `openBackend` knows which
 *  backends there are. */
import type { OpKernels } from "../../ffi/ops.gen.ts"
import type { ByteSource } from "../gguf/types.ts"
import type { DeviceBuffer, Tensor } from "./tensor.ts"

export const BACKENDS = ["cpu", "reference", "trace"] as const
export type BackendName = (typeof BACKENDS)[number]

export interface Backend {
  readonly name: BackendName
  /** Said by `doctor` and the bench: instruction set, threads. */
  readonly description: string
  readonly kernels: OpKernels<Tensor>
  /** Zeroed memory, 64-byte aligned. @throws ContextError when there is not enough. */
  alloc(bytes: number, what: string): DeviceBuffer
  free(buffer: DeviceBuffer): void
  /** Makes a mapped model file known to the device; nothing is copied where the device is the host. */
  map(source: ByteSource): DeviceBuffer
  /** Bytes of a stored attention row, [dim] of which the last ropeDim are rotated. */
  kvRowBytes(dim: number, ropeDim: number): number
  /** Bytes of a stored index row. */
  indexRowBytes(dim: number): number
  /** Copies bytes from the device to host memory, and back. */
  read(buffer: DeviceBuffer, offset: number, into: Uint8Array): void
  write(buffer: DeviceBuffer, offset: number, from: Uint8Array): void
  close(): void
}

/** Packed row of attention: (dim - rope) FP8 codes, rope f16, one E8M0 exponent per 64; padded to 8.
 *  584 bytes for [512] with 64 rotated (spec §8). */
export function packedKvBytes(dim: number, ropeDim: number): number {
  const plain = dim - ropeDim
  return Math.ceil((plain + 2 * ropeDim + plain / 64) / 8) * 8
}

/** Packed index row: dim / 2 bytes of FP4, one E8M0 exponent per 32; padded to 4. 68 bytes for [128]. */
export function packedIndexBytes(dim: number): number {
  return Math.ceil((dim / 2 + dim / 32) / 4) * 4
}
