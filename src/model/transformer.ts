/** The model as a formula: tokens in, logits out. Read this first, then attention.ts and moe.ts.
 *
 *  A step works on rows; a row is (sequence, position, token). The list of ops depends on the layer's
 *  kind, the number of rows and whether any row must choose among compressed rows (rows.indexed) —
 *  never on a position or a token, so that a step recorded once can be repeated (design D5). */
import type { Backend } from "../ops/backend.ts"
import { Ops } from "../ops/ops.ts"
import { type DeviceBuffer, Tensor } from "../ops/tensor.ts"
import { attention } from "./attention.ts"
import { type Config, ropeFrequencies } from "./config.ts"
import type { KvCache, LayerCache } from "./kv-cache.ts"
import { moe } from "./moe.ts"
import type { Activations, OutputActivations } from "./scratch.ts"
import type { HcWeights, LayerWeights, Weights } from "./weights.ts"

/** Everything a step needs of a model; nothing of it changes from step to step. */
export interface Model {
  readonly config: Config
  readonly weights: Weights
  readonly ops: Ops
  /** Frequencies of the rotated pairs, [ropeDim / 2]: window-only and compressed layers. */
  readonly freqs: { raw: Tensor; compressed: Tensor }
}

/** The rows of one step; their table lies in `s.rows`. */
export interface StepRows {
  readonly n: number
  /** Whether a row sees more compressed rows than the indexer chooses: (pos + 1) div 4 > indexTopK. */
  readonly indexed: boolean
}

/** Puts a model's weights and a backend together. */
export function makeModel(config: Config, weights: Weights, backend: Backend): Model {
  const upload = (values: Float32Array) => {
    const buffer: DeviceBuffer = backend.alloc(values.byteLength, "rope frequencies")
    backend.write(buffer, 0, new Uint8Array(values.buffer))
    return new Tensor(buffer, 0, "F32", [values.length])
  }
  const freqs = {
    raw: upload(ropeFrequencies(config, false)),
    compressed: upload(ropeFrequencies(config, true)),
  }
  return { config, weights, ops: new Ops(backend), freqs }
}

/** One pass over all layers. Leaves the residual streams in s.streams and the rows in the cache. */
export function forward(m: Model, kv: KvCache, s: Activations, rows: StepRows): void {
  beginStep(m, s)
  for (let l = 0; l < m.config.nLayers; l++) forwardLayer(m, l, kv.layers[l]!, s, rows)
}

/** Embeds the rows of s.rows and computes the rotations that all layers share. */
export function beginStep(m: Model, s: Activations): void {
  m.ops.ropeTable(s.ropeRaw, m.freqs.raw, s.rows, 1)
  m.ops.ropeTable(s.rope, m.freqs.compressed, s.rows, 1)
  m.ops.ropeTable(s.ropeBlock4, m.freqs.compressed, s.rows, 4)
  m.ops.ropeTable(s.ropeBlock128, m.freqs.compressed, s.rows, 128)
  m.ops.embed(s.streams, m.weights.token_embd, s.rows)
}

/** One decoder block: s.streams [nRows, hcMult, dim] f32 is updated in place. Spec §5. */
export function forwardLayer(
  m: Model,
  l: number,
  kv: LayerCache,
  s: Activations,
  rows: StepRows,
): void {
  const w: LayerWeights = m.weights.layers[l]!
  hcPre(m, w.hc_attn, s) // s.x [nRows, dim] = Σ pre · streams
  m.ops.rmsNorm(s.xNorm, s.x, w.attn_norm, m.config.rmsEps)
  attention(m, w, kv, s, rows) // s.out [nRows, dim]
  hcPost(m, s) // streams = post · out + combᵀ · streams
  hcPre(m, w.hc_ffn, s)
  m.ops.rmsNorm(s.xNorm, s.x, w.ffn_norm, m.config.rmsEps)
  moe(m, w, s)
  hcPost(m, s)
}

/** Collapses the streams to the input of a sub-layer, and computes how its output will enter them. */
function hcPre({ ops, config: c }: Model, hc: HcWeights, s: Activations): void {
  ops.rmsNorm(s.flat, s.flatStreams, null, c.rmsEps)
  ops.matmul(s.mix, s.flat, hc.fn)
  ops.hcSplit(s.pre, s.post, s.comb, s.mix, hc.scale, hc.base, c.hcSinkhornIters, c.hcEps)
  ops.hcCollapse(s.x, s.streams, s.pre)
}

/** Adds the sub-layer's output to the streams and mixes them. */
function hcPost({ ops }: Model, s: Activations): void {
  ops.hcExpand(s.streams, s.out, s.post, s.comb)
}

/** Logits of the rows that o.index names: `output · RMSNorm(Σ_h w_h · streams_h)`. Spec §5, §12. */
export function outputHead(m: Model, s: Activations, o: OutputActivations): void {
  const { ops, config: c } = m
  const w = m.weights
  ops.gatherRows(o.streams, s.streams, o.index)
  ops.rmsNorm(o.flat, o.flatStreams, null, c.rmsEps)
  ops.matmul(o.mix, o.flat, w.output_hc.fn)
  ops.hcHeadWeights(o.weights, o.mix, w.output_hc.scale, w.output_hc.base, c.hcEps)
  ops.hcCollapse(o.x, o.streams, o.weights)
  ops.rmsNorm(o.xNorm, o.x, w.output_norm, c.rmsEps)
  ops.matmul(o.logits, o.xNorm, w.output)
}
