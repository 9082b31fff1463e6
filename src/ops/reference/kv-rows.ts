import type { OpKernels } from "../../../ffi/ops.gen.ts"
import { NativeError } from "../../errors.ts"
import { PAGE_TOKENS, ROW_KV } from "../kv-ops.ts"
import type { Tensor } from "../tensor.ts"
import { readRows } from "./memory.ts"
import { packIndexRow, packKvRow, roundIndexRow, roundKvRow, unpackKvRow } from "./rounding.ts"

type KvRowOps = "roundKv" | "roundIndex" | "packRows" | "storeRing" | "storePages"

/** How this backend stores attention rows: packed as the model rounds them, or plain f32 where the
 *  rounding is left out for comparison with engines that have none. */
export interface KvFormat {
  readonly rounding: boolean
}

/** Reads a stored attention row into `out` [dim]. */
export function readKvRow(
  format: KvFormat,
  bytes: Uint8Array,
  dim: number,
  ropeDim: number,
  out: Float32Array,
): void {
  if (format.rounding) return unpackKvRow(bytes, dim, ropeDim, out)
  out.set(new Float32Array(bytes.buffer, bytes.byteOffset, dim))
}

/** Byte offset of compressed row c of a sequence in `pages`. Spec §17; design D5. */
export function pagedRow(
  op: string,
  table: Int32Array,
  at: { seq: number; c: number; ratio: number; tableLen: number; nPages: number },
  rowBytes: number,
): number {
  const perPage = PAGE_TOKENS / at.ratio
  const index = Math.floor(at.c / perPage)
  const page = index < at.tableLen ? table[at.seq * at.tableLen + index]! : -1
  if (page < 0 || page >= at.nPages)
    throw new NativeError(`${op}: sequence ${at.seq} has page ${page} of ${at.nPages}`)
  return (page * perPage + (at.c % perPage)) * rowBytes
}

export const kvRowOps = (format: KvFormat): Pick<OpKernels<Tensor>, KvRowOps> => ({
  roundKv(x, nRows, dim, ropeDim) {
    if (!format.rounding) return
    const v = x.f32()
    for (let r = 0; r < nRows; r++) roundKvRow(v, r * dim, dim - ropeDim, ropeDim)
  },

  roundIndex(x, nRows, dim) {
    const v = x.f32()
    for (let r = 0; r < nRows; r++) roundIndexRow(v, r * dim, dim)
  },

  packRows(out, x, nRows, dim, ropeDim, rowBytes, kind) {
    const [bytes, v] = [out.raw(), x.f32()]
    for (let r = 0; r < nRows; r++) {
      const to = bytes.subarray(r * rowBytes, (r + 1) * rowBytes)
      if (kind !== ROW_KV) packIndexRow(v, r * dim, dim, to)
      else if (format.rounding) packKvRow(v, r * dim, dim, ropeDim, to)
      else to.set(new Uint8Array(v.buffer, v.byteOffset + 4 * r * dim, 4 * dim))
    }
  },

  storeRing(ring, src, rows, _nRows, nSeqs, nSlots, rowBytes) {
    const [to, from] = [ring.raw(), src.raw()]
    readRows("storeRing", rows, { nSeqs }).forEach(({ seq, pos, after }, r) => {
      if (after >= nSlots) return
      const slot = seq * nSlots + (pos % nSlots)
      to.set(from.subarray(r * rowBytes, (r + 1) * rowBytes), slot * rowBytes)
    })
  },

  storePages(pages, src, table, rows, _nRows, nPages, nSeqs, tableLen, ratio, rowBytes) {
    const [to, from, ids] = [pages.raw(), src.raw(), table.i32()]
    readRows("storePages", rows, { nSeqs }).forEach(({ seq, pos }, r) => {
      if ((pos + 1) % ratio !== 0) return
      const at = { seq, c: Math.floor(pos / ratio), ratio, tableLen, nPages }
      const offset = pagedRow("storePages", ids, at, rowBytes)
      to.set(from.subarray(r * rowBytes, (r + 1) * rowBytes), offset)
    })
  },
})
