/** Resume points: what the rings hold at a page boundary, kept in host memory. The ratio-128 frontier
 *  is empty there, and of the ratio-4 frontier only the last block's first halves are ever read again;
 *  so a point is the raw window and that tail (design D7). */
import type { Config } from "../model/config.ts"
import type { KvCache } from "../model/kv-cache.ts"
import type { Backend } from "../ops/backend.ts"
import type { Tensor } from "../ops/tensor.ts"

export interface ResumePoint {
  readonly bytes: number
  /** The pieces in the order of `regions`. */
  readonly data: Uint8Array
}

/** A run of bytes of some ring that belongs to a resume point. */
interface Region {
  tensor: Tensor
  offset: number
  bytes: number
}

/** All pieces of sequence `seq`'s rings that position `pos`, a multiple of 128, needs. */
function* regions(c: Config, kv: KvCache, seq: number, pos: number): Generator<Region> {
  for (const layer of kv.layers) {
    yield* slots(layer.ring, seq, pos - c.window, pos, 1)
    if (layer.ratio !== 4) continue
    for (const f of [layer.frontier!, layer.indexFrontier!]) {
      yield* slots(f.k, seq, pos - 4, pos, 2)
      yield* slots(f.s, seq, pos - 4, pos, 2)
    }
  }
}

/** Slots of positions [from, to) of a ring [nSeqs, nSlots, width]; of each the first 1/part. */
function* slots(
  ring: Tensor,
  seq: number,
  from: number,
  to: number,
  part: number,
): Generator<Region> {
  const nSlots = ring.dims[1]!
  const slotBytes = ring.bytes / (ring.dims[0]! * nSlots)
  const base = seq * nSlots * slotBytes
  for (let pos = from; pos < to;) {
    const slot = pos % nSlots
    const run = part === 1 ? Math.min(to - pos, nSlots - slot) : 1
    yield { tensor: ring, offset: base + slot * slotBytes, bytes: (run * slotBytes) / part }
    pos += run
  }
}

/** Copies sequence `seq`'s state at `pos` out of the rings, which must still hold it. */
export function saveResumePoint(
  backend: Backend,
  c: Config,
  kv: KvCache,
  seq: number,
  pos: number,
): ResumePoint {
  let bytes = 0
  for (const r of regions(c, kv, seq, pos)) bytes += r.bytes
  const data = new Uint8Array(bytes)
  let at = 0
  for (const r of regions(c, kv, seq, pos)) {
    backend.read(r.tensor.buffer, r.tensor.offset + r.offset, data.subarray(at, at + r.bytes))
    at += r.bytes
  }
  return { bytes, data }
}

/** Puts a resume point into the rings of sequence `seq`, which then stands at `pos`. */
export function restoreResumePoint(
  backend: Backend,
  c: Config,
  kv: KvCache,
  seq: number,
  pos: number,
  point: ResumePoint,
): void {
  let at = 0
  for (const r of regions(c, kv, seq, pos)) {
    backend.write(
      r.tensor.buffer,
      r.tensor.offset + r.offset,
      point.data.subarray(at, at + r.bytes),
    )
    at += r.bytes
  }
}
