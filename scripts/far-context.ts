/** What a long context costs, without reading one: rows of random KV stand in for the tokens.
 *  `bun scripts/far-context.ts MODEL [--decode 131072] [--prefill 32768]`. The steps at the far
 *  context and at none alternate, and the best of each counts. */
import { parseArgs } from "node:util"
import { ensureNativeLibrary } from "../ffi/build.ts"
import { openLibrary } from "../ffi/library.ts"
import type { Pages } from "../src/ops/kv-ops.ts"
import { openRuntime } from "../src/session/open.ts"
import type { Sequence } from "../src/session/sequence.ts"
import { Random } from "../src/tools/synthetic-data.ts"

const STEPS = { decode: 12, prefill: 2 }
const PREFILL_ROWS = 512

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    decode: { type: "string", default: "131072" },
    prefill: { type: "string", default: "32768" },
    threads: { type: "string", short: "t", default: "0" },
  },
})
const path = positionals[0]
if (!path) throw new Error("Which model? bun scripts/far-context.ts MODEL")
const far = { decode: Number(values.decode), prefill: Number(values.prefill) }
const random = new Random(1)

openLibrary(await ensureNativeLibrary())
const context = Math.max(far.decode, far.prefill) + 2 * PREFILL_ROWS
const runtime = openRuntime({ path }, { context, nSeqs: 2, threads: Number(values.threads) })
for (const layer of runtime.kv.layers) {
  fillPages(layer.pages, (runtime.config.headDim - runtime.config.ropeDim) / 64)
  fillPages(layer.indexPages, runtime.config.indexHeadDim / 32)
}
measure("decode", 1, far.decode)
measure("prefill", PREFILL_ROWS, far.prefill)
runtime.close()

/** Random codes; the scales, which end a row but for its padding, near one. */
function fillPages(pages: Pages | null, nScales: number): void {
  if (!pages) return
  const { dims, bytes, buffer, offset } = pages.rows
  const rowBytes = dims[2]!
  const used = rowBytes - (rowBytes % 8 === 0 && nScales === 7 ? 1 : 0)
  const rows = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i++) rows[i] = random.u32() & 0xbb // halves stay finite
  for (let row = 0; row < bytes; row += rowBytes) rows.fill(120, row + used - nScales, row + used)
  runtime.backend.write(buffer, offset, rows)
}

/** Best time of a step of `n` rows after `length` tokens and after none. */
function measure(what: keyof typeof STEPS, n: number, length: number): void {
  const [near, away] = [runtime.sequence(), runtime.sequence()]
  pretend(away, length)
  const best = [near, away].map(() => Infinity)
  for (let i = -1; i < STEPS[what]; i++)
    for (const [k, seq] of [near, away].entries()) {
      const ids = Array.from({ length: n }, () => random.u32() % runtime.config.vocabSize)
      const start = performance.now()
      runtime.step([{ seq, ids, logits: "last" }], () => {})
      if (i >= 0) best[k] = Math.min(best[k]!, performance.now() - start)
    }
  const [none, there] = best as [number, number]
  const rows = n === 1 ? "1 row" : `${n} rows`
  console.log(
    `${what}, ${rows}: ${none.toFixed(1)} ms at 0, ${there.toFixed(1)} ms at ${length}: ` +
      `${(there / none).toFixed(2)} times`,
  )
  runtime.release(near)
  runtime.release(away)
}

/** Lets a sequence have `length` tokens that nobody computed. */
function pretend(seq: Sequence, length: number): void {
  for (let at = 0; at < length; at += PREFILL_ROWS) {
    const ids = Array.from({ length: Math.min(PREFILL_ROWS, length - at) }, () => 0)
    seq.reserve(ids.length)
    seq.begin(ids.length)
    seq.advance(ids, length)
  }
}
