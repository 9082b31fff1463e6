/** The reference backend: plain TypeScript, sums in f64, results rounded to f32, no activation
 *  rounded. It is the truth that every other backend is held to, and the one scripts can step through. */
import { type Backend, packedIndexBytes, packedKvBytes } from "../backend.ts"
import { attentionOps } from "./attention.ts"
import { candidateOps } from "./candidates.ts"
import { compressorOps } from "./compressor.ts"
import { expertOps } from "./experts.ts"
import { hyperConnectionOps } from "./hyper-connection.ts"
import { indexerOps } from "./indexer.ts"
import { kvRowOps } from "./kv-rows.ts"
import { matmulOps } from "./matmul.ts"
import { hostBuffer, mappedBuffer, WeightReader } from "./memory.ts"
import { normOps } from "./rms-norm.ts"
import { ropeOps } from "./rope.ts"
import { routerOps } from "./router.ts"

export interface ReferenceOptions {
  /** False leaves the FP8 and f16 rounding of attention rows out, for comparison with engines that
   *  have none; the model itself demands it. Only this backend can. */
  kvRounding?: boolean | undefined
}

/** Opens the reference backend. */
export function openReference(options: ReferenceOptions = {}): Backend {
  const format = { rounding: options.kvRounding ?? true }
  const weights = new WeightReader()
  return {
    name: "reference",
    description: "reference, TypeScript in f64",
    kernels: {
      ...matmulOps(weights),
      ...normOps,
      ...ropeOps,
      ...hyperConnectionOps,
      ...kvRowOps(format),
      ...compressorOps(weights),
      ...indexerOps,
      ...attentionOps(format),
      ...routerOps,
      ...expertOps(weights),
      ...candidateOps,
    },
    alloc: hostBuffer,
    free() {},
    map: mappedBuffer,
    kvRowBytes: (dim, ropeDim) => (format.rounding ? packedKvBytes(dim, ropeDim) : 4 * dim),
    indexRowBytes: packedIndexBytes,
    read: (buffer, offset, into) => into.set(buffer.bytesAt!(offset, into.byteLength)),
    write: (buffer, offset, from) => buffer.bytesAt!(offset, from.byteLength).set(from),
    close: () => weights.forget(),
  }
}
