/** Bytes that a decoded token must read, from the shapes alone. */
import type { GgufFile } from "../gguf/types.ts"
import type { Config } from "../model/config.ts"
import { KvCache } from "../model/kv-cache.ts"
import { Scratch } from "../model/scratch.ts"
import { forward, type Model, outputHead } from "../model/transformer.ts"
import { Ops } from "../ops/ops.ts"
import { openTrace } from "../ops/trace.ts"
import { memoryReport } from "./inspect-memory.ts"

/** Weights and KV rows that the token after `context` others reads: chosen experts only, one row of
 *  the embedding. */
export function bytesPerToken(file: GgufFile, model: Model, context: number): number {
  const { config } = model
  const indexed = Math.floor((context + 1) / 4) > config.indexTopK
  return weightBytes(model, indexed) + kvBytesRead(file, config, context)
}

function kvBytesRead(file: GgufFile, config: Config, context: number): number {
  return memoryReport(file, config, { context }).readPerToken
}

/** Weights of a step of one row, as its ops name them. */
export function weightBytes(model: Model, indexed: boolean): number {
  const trace = openTrace()
  const traced = { ...model, ops: new Ops(trace) }
  const kv = new KvCache(trace, model.config, { nSeqs: 1, nPages: 1, tableLen: 1 })
  const scratch = new Scratch(trace, model.config, 1, 1)
  const s = scratch.step(1)
  forward(traced, kv, s, { n: 1, indexed })
  outputHead(traced, s, scratch.output(1))
  return trace.records.reduce((sum, { weightBytes: bytes }) => sum + bytes, 0)
}
