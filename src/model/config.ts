/** Hyper-parameters of a model, read from GGUF metadata. One table holds their keys, the full
 *  model's values and the range in which this engine works; any consistent shape runs (design D10). */
import { GgufError } from "../errors.ts"
import type { Metadata } from "../gguf/metadata.ts"
import { foreignHint } from "./foreign.ts"

/** Tokens in a page of KV memory. A ratio-128 block is then always whole. */
export type CompressRatio = 0 | 4 | 128

export interface Config {
  readonly nLayers: number
  /** Width of one residual stream. */
  readonly dim: number
  readonly vocabSize: number
  readonly nHeads: number
  readonly headDim: number
  /** Rotated dims: the tail of every head and of every index vector. */
  readonly ropeDim: number
  readonly qLoraRank: number
  /** Rows of attn_output_a per group. */
  readonly oLoraRank: number
  readonly oGroups: number
  readonly nExperts: number
  readonly nExpertsUsed: number
  readonly expertDim: number
  readonly nHashLayers: number
  readonly window: number
  readonly indexHeads: number
  readonly indexHeadDim: number
  readonly indexTopK: number
  readonly hcMult: number
  readonly hcSinkhornIters: number
  readonly contextLength: number
  readonly yarnOriginalContext: number
  readonly yarnFactor: number
  readonly yarnBetaFast: number
  readonly yarnBetaSlow: number
  readonly ropeBase: number
  readonly compressRopeBase: number
  readonly expertWeightsScale: number
  readonly rmsEps: number
  readonly hcEps: number
  /** Per layer: tokens in a compressed row; 0: window only. */
  readonly compressRatios: readonly CompressRatio[]
  /** Per layer: limit of the gate from above and of the up projection on both sides. */
  readonly swigluClamp: readonly number[]
  readonly swigluClampShared: readonly number[]
}

type ScalarName = {
  [K in keyof Config]: Config[K] extends number ? K : never
}[keyof Config]

interface Row {
  name: ScalarName
  key: string
  /** Value of V4 Flash. */
  full: number
  /** Value of ds4-mini. */
  mini: number
  /** Range in which the engine works; integers unless `float`. */
  min: number
  max: number
  float?: true
}

const P = "deepseek4."

/** Spec §1 and §2.3. */
// prettier-ignore
const TABLE: readonly Row[] = [
  { name: "nLayers", key: "block_count", full: 43, mini: 6, min: 1, max: 1024 },
  { name: "contextLength", key: "context_length", full: 1048576, mini: 65536, min: 128, max: 2 ** 24 },
  { name: "dim", key: "embedding_length", full: 4096, mini: 256, min: 32, max: 65536 },
  { name: "vocabSize", key: "vocab_size", full: 129280, mini: 2048, min: 2, max: 2 ** 21 },
  { name: "nHeads", key: "attention.head_count", full: 64, mini: 4, min: 1, max: 1024 },
  { name: "headDim", key: "attention.key_length", full: 512, mini: 128, min: 64, max: 4096 },
  { name: "ropeDim", key: "rope.dimension_count", full: 64, mini: 64, min: 2, max: 1024 },
  { name: "qLoraRank", key: "attention.q_lora_rank", full: 1024, mini: 128, min: 32, max: 65536 },
  { name: "oLoraRank", key: "attention.output_lora_rank", full: 1024, mini: 64, min: 1, max: 65536 },
  { name: "oGroups", key: "attention.output_group_count", full: 8, mini: 2, min: 1, max: 1024 },
  { name: "nExperts", key: "expert_count", full: 256, mini: 8, min: 1, max: 4096 },
  { name: "nExpertsUsed", key: "expert_used_count", full: 6, mini: 2, min: 1, max: 64 },
  { name: "expertDim", key: "expert_feed_forward_length", full: 2048, mini: 256, min: 32, max: 65536 },
  { name: "nHashLayers", key: "hash_layer_count", full: 3, mini: 3, min: 0, max: 1024 },
  { name: "window", key: "attention.sliding_window", full: 128, mini: 128, min: 1, max: 128 },
  { name: "indexHeads", key: "attention.indexer.head_count", full: 64, mini: 4, min: 1, max: 1024 },
  { name: "indexHeadDim", key: "attention.indexer.key_length", full: 128, mini: 128, min: 32, max: 1024 },
  { name: "indexTopK", key: "attention.indexer.top_k", full: 512, mini: 32, min: 1, max: 65536 },
  { name: "hcMult", key: "hyper_connection.count", full: 4, mini: 4, min: 4, max: 4 },
  { name: "hcSinkhornIters", key: "hyper_connection.sinkhorn_iterations", full: 20, mini: 20, min: 1, max: 1000 },
  { name: "hcEps", key: "hyper_connection.epsilon", full: 1e-6, mini: 1e-6, min: 0, max: 1, float: true },
  { name: "yarnOriginalContext", key: "rope.scaling.original_context_length", full: 65536, mini: 4096, min: 1, max: 2 ** 24 },
  { name: "yarnFactor", key: "rope.scaling.factor", full: 16, mini: 16, min: 1, max: 1e4, float: true },
  { name: "yarnBetaFast", key: "rope.scaling.yarn_beta_fast", full: 32, mini: 32, min: 1e-3, max: 1e6, float: true },
  { name: "yarnBetaSlow", key: "rope.scaling.yarn_beta_slow", full: 1, mini: 1, min: 1e-3, max: 1e6, float: true },
  { name: "ropeBase", key: "rope.freq_base", full: 10000, mini: 10000, min: 1.1, max: 1e12, float: true },
  { name: "compressRopeBase", key: "attention.compress_rope_freq_base", full: 160000, mini: 160000, min: 1.1, max: 1e12, float: true },
  { name: "expertWeightsScale", key: "expert_weights_scale", full: 1.5, mini: 1.5, min: 1e-3, max: 1e3, float: true },
  { name: "rmsEps", key: "attention.layer_norm_rms_epsilon", full: 1e-6, mini: 1e-6, min: 1e-12, max: 1e-2, float: true },
]

/** Keys whose value leaves no choice: another one is another model. */
const FIXED: readonly [key: string, value: number | boolean | string, required: boolean][] = [
  ["attention.head_count_kv", 1, true],
  ["expert_shared_count", 1, true],
  ["expert_weights_norm", true, true],
  ["expert_gating_func", 4, false],
  ["expert_group_count", 0, false],
  ["expert_group_used_count", 0, false],
  ["rope.scaling.type", "yarn", false],
]

/** Ratios of the full model's 43 layers: 0, 0, then 4 and 128 in turn. */
export const FULL_RATIOS: readonly CompressRatio[] = Array.from({ length: 43 }, (_, l) =>
  l < 2 ? 0 : l % 2 === 0 ? 4 : 128,
)

/** Reads and checks the hyper-parameters. @throws GgufError naming the key, its value and the wish. */
export function readConfig(md: Metadata): Config {
  const architecture = md.str("general.architecture")
  if (architecture !== "deepseek4")
    throw new GgufError(
      `This is a model of architecture "${architecture}"; ds4 runs "deepseek4" (DeepSeek V4 Flash)`,
    )
  checkKeys(md)
  const scalars = {} as Record<ScalarName, number>
  for (const row of TABLE) scalars[row.name] = readScalar(md, row)
  for (const [key, value, required] of FIXED) checkFixed(md, P + key, value, required)
  const valueLength = md.u32(`${P}attention.value_length`)
  if (valueLength !== scalars.headDim)
    reject("attention.value_length", valueLength, scalars.headDim)
  const n = scalars.nLayers
  const clamp = readClamp(md, "swiglu_clamp_exp", n)
  const config: Config = {
    ...scalars,
    compressRatios: readRatios(md, n),
    swigluClamp: clamp,
    swigluClampShared: md.has(`${P}swiglu_clamp_shexp`)
      ? readClamp(md, "swiglu_clamp_shexp", n)
      : clamp,
  }
  checkConsistent(config)
  return config
}

const REQUIRED: readonly string[] = [
  ...TABLE.map((row) => row.key),
  ...FIXED.filter(([, , required]) => required).map(([key]) => key),
  "attention.value_length",
  "attention.compress_ratios",
  "swiglu_clamp_exp",
].map((key) => P + key)

/** Throws if a key is missing, and names the foreign key that stands in its place. */
function checkKeys(md: Metadata): void {
  const missing = REQUIRED.find((key) => !md.has(key))
  if (missing === undefined) return
  const known = new Set([...REQUIRED, ...FIXED.map(([key]) => P + key)])
  const foreign = [...md.keys()].filter((key) => key.startsWith(P) && !known.has(key))
  throw new GgufError(`Key "${missing}" is missing${foreignHint(missing, foreign)}`)
}

function readScalar(md: Metadata, row: Row): number {
  const key = P + row.key
  const value = row.float ? Math.fround(md.f32(key)) : md.u64(key)
  if (!(value >= row.min && value <= row.max))
    throw new GgufError(
      `Key "${key}" is ${value}; ds4 runs models from ${row.min} to ${row.max}`,
      md.get(key)?.offset,
    )
  return value
}

function checkFixed(md: Metadata, key: string, wanted: number | boolean | string, must: boolean) {
  if (!must && !md.has(key)) return
  const found =
    typeof wanted === "number"
      ? md.u32(key)
      : typeof wanted === "string"
        ? md.str(key)
        : md.bool(key)
  if (found !== wanted)
    throw new GgufError(`Key "${key}" is ${found}, ds4 needs ${wanted}`, md.get(key)?.offset)
}

function readRatios(md: Metadata, nLayers: number): CompressRatio[] {
  const key = `${P}attention.compress_ratios`
  const ratios = md.arrU32(key)
  if (ratios.length < nLayers)
    throw new GgufError(`Key "${key}" has ${ratios.length} entries for ${nLayers} layers`)
  return ratios.slice(0, nLayers).map((r, l) => {
    if (r !== 0 && r !== 4 && r !== 128)
      throw new GgufError(`Key "${key}" has ${r} for layer ${l}, ds4 knows 0, 4 and 128`)
    return r
  })
}

function readClamp(md: Metadata, name: string, nLayers: number): number[] {
  const values = md.arrF32(P + name)
  if (values.length < nLayers)
    throw new GgufError(`Key "${P}${name}" has ${values.length} entries for ${nLayers} layers`)
  const bad = values.find((v) => !(v > 0))
  if (bad !== undefined)
    throw new GgufError(`Key "${P}${name}" holds ${bad}, a limit above 0 is wanted`)
  return values.slice(0, nLayers).map(Math.fround)
}

function reject(key: string, found: number, wish: number | string): never {
  throw new GgufError(`Key "${P}${key}" is ${found}, ds4 needs ${wish}`)
}

/** Constraints between keys that the formulas need. Spec §21. */
function checkConsistent(c: Config): void {
  const plain = c.headDim - c.ropeDim
  if (c.ropeDim % 2 !== 0 || plain < 64 || plain % 64 !== 0)
    reject(
      "rope.dimension_count",
      c.ropeDim,
      `an even number that leaves whole blocks of 64 of ${c.headDim}`,
    )
  if (c.ropeDim > c.indexHeadDim)
    reject("rope.dimension_count", c.ropeDim, `at most ${c.indexHeadDim}`)
  if (Math.log2(c.indexHeadDim) % 1 !== 0)
    reject("attention.indexer.key_length", c.indexHeadDim, "a power of two")
  if (c.nHeads % c.oGroups !== 0)
    reject("attention.output_group_count", c.oGroups, `a divisor of the ${c.nHeads} heads`)
  if (c.nExpertsUsed > c.nExperts)
    reject("expert_used_count", c.nExpertsUsed, `at most the ${c.nExperts} experts`)
}

export type ShapeName = "full model" | "mini" | "other shape"

/** Which shape this is: that of V4 Flash, of ds4-mini, or another consistent one. */
export function shapeName(c: Config): ShapeName {
  const equals = (column: "full" | "mini") =>
    TABLE.every((row) => Math.abs(c[row.name] - row[column]) <= 1e-6 * Math.abs(row[column]))
  if (equals("full") && c.compressRatios.every((r, l) => r === FULL_RATIOS[l])) return "full model"
  return equals("mini") ? "mini" : "other shape"
}

/** Frequencies of the rotated pairs, ω_i in f64 rounded to f32. Window-only layers: base^(-2i/ropeDim).
 *  Compressed layers: the other base, and YaRN's ramp between full speed and 1/factor. Spec §7. */
export function ropeFrequencies(c: Config, compressed: boolean): Float32Array {
  const n = c.ropeDim / 2
  const base = compressed ? c.compressRopeBase : c.ropeBase
  const out = new Float32Array(n)
  const turnsAt = (turns: number) =>
    (c.ropeDim * Math.log(c.yarnOriginalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base))
  const low = Math.max(Math.floor(turnsAt(c.yarnBetaFast)), 0)
  const high = Math.min(Math.ceil(turnsAt(c.yarnBetaSlow)), c.ropeDim - 1)
  for (let i = 0; i < n; i++) {
    const omega = base ** ((-2 * i) / c.ropeDim)
    const span = low === high ? 0.001 : high - low
    const ramp = compressed ? Math.min(Math.max((i - low) / span, 0), 1) : 0
    out[i] = omega * (1 - ramp) + (omega / c.yarnFactor) * ramp
  }
  return out
}
