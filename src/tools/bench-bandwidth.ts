/** How fast memory can be read here: what the speed of decoding is held against. */
import { availableParallelism } from "node:os"
import { type Backend } from "../ops/backend.ts"
import { Ops } from "../ops/ops.ts"
import { Tensor } from "../ops/tensor.ts"
import { availableMemory } from "../session/memory.ts"

export interface Bandwidth {
  bytesPerSecond: number
  /** Of the memory that was read over and over, much larger than any cache. */
  bytes: number
}

/** Said wherever the figure is shown. */
export const BANDWIDTH_METHOD = "best of 5 products of one row with F32 weights"

const MIN_BYTES = 2 ** 28
/** More than a core's share of the largest caches; fresh memory is slow to get in a virtual machine. */
const BYTES_PER_CORE = 2 ** 25
const MAX_BYTES = 2 ** 30
const COLUMNS = 8192
const PASSES = 5
const PIECE = 2 ** 24

/** Reads memory by the backend's own threads. Null where memory is not the host's, or too scarce. */
export function measureBandwidth(backend: Backend): Bandwidth | null {
  if (backend.name !== "cpu") return null
  const rowBytes = 4 * COLUMNS
  const wanted = Math.max(MIN_BYTES, BYTES_PER_CORE * availableParallelism())
  const most = Math.min(wanted, MAX_BYTES, availableMemory() / 4)
  if (most < MIN_BYTES) return null
  const nRows = Math.floor(most / rowBytes)
  const bytes = nRows * rowBytes
  const weights = backend.alloc(bytes, "the bandwidth measurement")
  const small = backend.alloc(rowBytes + 4 * nRows, "the bandwidth measurement")
  try {
    // Pages that nobody wrote would all be the same page of zeros.
    const piece = new Uint8Array(PIECE).fill(0x3c)
    for (let at = 0; at < bytes; at += PIECE)
      backend.write(weights, at, piece.subarray(0, Math.min(PIECE, bytes - at)))
    const w = new Tensor(weights, 0, "F32", [nRows, COLUMNS])
    const x = new Tensor(small, 0, "F32", [1, COLUMNS])
    const out = new Tensor(small, rowBytes, "F32", [1, nRows])
    const ops = new Ops(backend)
    let best = Infinity
    for (let i = 0; i < PASSES; i++) {
      const start = Bun.nanoseconds()
      ops.matmul(out, x, w)
      best = Math.min(best, Bun.nanoseconds() - start)
    }
    return { bytesPerSecond: bytes / (best / 1e9), bytes }
  } finally {
    backend.free(weights)
    backend.free(small)
  }
}
