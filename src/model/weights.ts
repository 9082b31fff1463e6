/** The model's tensors by their GGUF names: one table says what each must be, one pass binds them.
 *  After that nobody looks anything up by string. Dims are outermost first: ne reversed. */
import { GgufError, ShapeError } from "../errors.ts"
import type { GgmlType, GgufFile } from "../gguf/types.ts"
import { type DeviceBuffer, Tensor } from "../ops/tensor.ts"
import type { CompressRatio, Config } from "./config.ts"
import { foreignHint } from "./foreign.ts"

/** Weights of one hyper-connection: fn [2hc + hc², hc · dim], scale [3], base [2hc + hc²]. */
export interface HcWeights {
  fn: Tensor
  scale: Tensor
  base: Tensor
}

/** Weights of one compressor, width = 2d for ratio 4 and d for ratio 128:
 *  kv, gate [width, dim]; ape [ratio, width]; norm [d]. */
export interface CompressorWeights {
  kv: Tensor
  gate: Tensor
  ape: Tensor
  norm: Tensor
}

export interface IndexerWeights {
  attn_q_b: Tensor // [indexHeads · indexHeadDim, qLoraRank]
  proj: Tensor // [indexHeads, dim]
}

/** One decoder block; names as in the file, minus "blk.N." and ".weight". */
export interface LayerWeights {
  ratio: CompressRatio
  swigluClamp: number
  swigluClampShared: number
  hc_attn: HcWeights
  hc_ffn: HcWeights
  attn_norm: Tensor // [dim]
  attn_q_a: Tensor // [qLoraRank, dim]
  attn_q_a_norm: Tensor // [qLoraRank]
  attn_q_b: Tensor // [nHeads · headDim, qLoraRank]
  attn_kv: Tensor // [headDim, dim]
  attn_kv_a_norm: Tensor // [headDim]
  attn_sinks: Tensor // [nHeads]
  attn_output_a: Tensor // [oGroups · oLoraRank, nHeads · headDim / oGroups]
  attn_output_b: Tensor // [dim, oGroups · oLoraRank]
  attn_compressor: CompressorWeights | null
  indexer: IndexerWeights | null
  indexer_compressor: CompressorWeights | null
  ffn_norm: Tensor // [dim]
  ffn_gate_inp: Tensor // [nExperts, dim]
  ffn_gate_tid2eid: Tensor | null // i32 [vocab, nExpertsUsed], hash layers
  exp_probs_b: Tensor | null // [nExperts], scored layers
  ffn_gate_exps: Tensor // [nExperts, expertDim, dim]
  ffn_up_exps: Tensor // [nExperts, expertDim, dim]
  ffn_down_exps: Tensor // [nExperts, dim, expertDim]
  ffn_gate_shexp: Tensor // [expertDim, dim]
  ffn_up_shexp: Tensor // [expertDim, dim]
  ffn_down_shexp: Tensor // [dim, expertDim]
}

export interface Weights {
  token_embd: Tensor // [vocab, dim]
  output_hc: HcWeights // fn [hc, hc · dim], scale [1], base [hc]
  output_norm: Tensor // [dim]
  output: Tensor // [vocab, dim]
  layers: LayerWeights[]
}

const F32_ONLY: readonly GgmlType[] = ["F32"]
const I32_ONLY: readonly GgmlType[] = ["I32"]
const DENSE: readonly GgmlType[] = ["F32", "F16", "BF16", "Q8_0"]
const EXPERT: readonly GgmlType[] = [
  "F16",
  "BF16",
  "F32",
  "Q8_0",
  "Q2_K",
  "Q4_K",
  "IQ2_XXS",
  "MXFP4",
]

/** Looks tensors up, checks type and shape, and remembers which were asked for. */
class Binder {
  readonly #file: GgufFile
  readonly #buffer: DeviceBuffer
  readonly #used = new Set<string>()
  #missing: { name: string; dims: readonly number[]; type: GgmlType } | null = null

  constructor(file: GgufFile, buffer: DeviceBuffer) {
    this.#file = file
    this.#buffer = buffer
  }

  /** A tensor by name. One that is missing is reported by `finish`, when it is known which names of
   *  the file nobody asked for. */
  bind(name: string, dims: readonly number[], types: readonly GgmlType[]): Tensor {
    const info = this.#file.tensors.get(name)
    if (!info) {
      this.#missing ??= { name, dims, type: types[0]! }
      return new Tensor({ address: 0, bytes: Infinity }, 0, types[0]!, dims)
    }
    const found = info.dims.toReversed()
    if (found.length !== dims.length || found.some((d, i) => d !== dims[i]))
      throw new GgufError(
        `Cannot bind "${name}": shape is ${shape(info.dims)}, expected ${shape(dims.toReversed())}`,
        info.offset,
      )
    if (!types.includes(info.type))
      throw new GgufError(
        `Cannot bind "${name}": type is ${info.type}, expected ${types.join(" or ")}`,
        info.offset,
      )
    if (info.offset % 4 !== 0)
      throw new GgufError(`Cannot bind "${name}": its bytes are not aligned to 4`, info.offset)
    this.#used.add(name)
    return new Tensor(this.#buffer, info.offset, info.type, dims)
  }

  f32(name: string, ...dims: number[]): Tensor {
    return this.bind(name, dims, F32_ONLY)
  }

  dense(name: string, ...dims: number[]): Tensor {
    return this.bind(name, dims, DENSE)
  }

  /** Names in the file that nothing asked for. @throws GgufError if anything was missing, with the
   *  name of the tensor that seems to stand in its place. */
  finish(): string[] {
    const unused = [...this.#file.tensors.keys()].filter((name) => !this.#used.has(name))
    if (!this.#missing) return unused
    const { name, dims, type } = this.#missing
    const layer = name.match(/^blk\.\d+\./)?.[0] ?? ""
    const size = elements(dims)
    const inPlace = unused.filter(
      (other) => other.startsWith(layer) && elements(this.#file.tensors.get(other)!.dims) === size,
    )
    const hint = foreignHint(name, inPlace)
    throw new GgufError(
      `Tensor "${name}" is missing, ${type} ${shape(dims.toReversed())} is wanted${hint}`,
    )
  }
}

const shape = (dims: readonly number[]) => `[${dims.join(", ")}]`
const elements = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1)

/** Binds every tensor of the model to its place in the mapped file; copies nothing.
 *  `extra` lists tensors of the file that the model does not use.
 *  @throws GgufError naming the tensor that is missing, misshapen, of a wrong type, or holds NaN. */
export function bindWeights(
  file: GgufFile,
  buffer: DeviceBuffer,
  c: Config,
): { weights: Weights; extra: string[] } {
  const b = new Binder(file, buffer)
  const hc = c.hcMult
  const weights: Weights = {
    token_embd: b.bind("token_embd.weight", [c.vocabSize, c.dim], EXPERT),
    output_hc: {
      fn: b.dense("output_hc_fn.weight", hc, hc * c.dim),
      scale: b.f32("output_hc_scale.weight", 1),
      base: b.f32("output_hc_base.weight", hc),
    },
    output_norm: b.f32("output_norm.weight", c.dim),
    output: b.dense("output.weight", c.vocabSize, c.dim),
    layers: Array.from({ length: c.nLayers }, (_, l) => bindLayer(b, c, l)),
  }
  const extra = b.finish()
  weights.layers.forEach(checkExpertTypes)
  checkValues(file, buffer, c)
  return { weights, extra }
}

function bindHc(b: Binder, c: Config, name: string): HcWeights {
  const width = 2 * c.hcMult + c.hcMult * c.hcMult
  return {
    fn: b.dense(`${name}_fn.weight`, width, c.hcMult * c.dim),
    scale: b.f32(`${name}_scale.weight`, 3),
    base: b.f32(`${name}_base.weight`, width),
  }
}

function bindCompressor(b: Binder, c: Config, name: string, d: number, ratio: number) {
  const width = ratio === 4 ? 2 * d : d
  return {
    kv: b.dense(`${name}_kv.weight`, width, c.dim),
    gate: b.dense(`${name}_gate.weight`, width, c.dim),
    ape: b.dense(`${name}_ape.weight`, ratio, width),
    norm: b.f32(`${name}_norm.weight`, d),
  }
}

function bindLayer(b: Binder, c: Config, l: number): LayerWeights {
  const n = `blk.${l}.`
  const ratio = c.compressRatios[l]!
  const heads = c.nHeads * c.headDim
  const low = c.oGroups * c.oLoraRank
  const layer: LayerWeights = {
    ratio,
    swigluClamp: c.swigluClamp[l]!,
    swigluClampShared: c.swigluClampShared[l]!,
    hc_attn: bindHc(b, c, `${n}hc_attn`),
    hc_ffn: bindHc(b, c, `${n}hc_ffn`),
    attn_norm: b.f32(`${n}attn_norm.weight`, c.dim),
    attn_q_a: b.dense(`${n}attn_q_a.weight`, c.qLoraRank, c.dim),
    attn_q_a_norm: b.f32(`${n}attn_q_a_norm.weight`, c.qLoraRank),
    attn_q_b: b.dense(`${n}attn_q_b.weight`, heads, c.qLoraRank),
    attn_kv: b.dense(`${n}attn_kv.weight`, c.headDim, c.dim),
    attn_kv_a_norm: b.f32(`${n}attn_kv_a_norm.weight`, c.headDim),
    attn_sinks: b.f32(`${n}attn_sinks.weight`, c.nHeads),
    attn_output_a: b.dense(`${n}attn_output_a.weight`, low, heads / c.oGroups),
    attn_output_b: b.dense(`${n}attn_output_b.weight`, c.dim, low),
    attn_compressor:
      ratio === 0 ? null : bindCompressor(b, c, `${n}attn_compressor`, c.headDim, ratio),
    indexer:
      ratio !== 4
        ? null
        : {
            attn_q_b: b.dense(
              `${n}indexer.attn_q_b.weight`,
              c.indexHeads * c.indexHeadDim,
              c.qLoraRank,
            ),
            proj: b.dense(`${n}indexer.proj.weight`, c.indexHeads, c.dim),
          },
    indexer_compressor:
      ratio !== 4 ? null : bindCompressor(b, c, `${n}indexer_compressor`, c.indexHeadDim, ratio),
    ...bindFfn(b, c, l),
  }
  return layer
}

function bindFfn(b: Binder, c: Config, l: number) {
  const n = `blk.${l}.`
  const up = [c.nExperts, c.expertDim, c.dim]
  const hash = l < c.nHashLayers
  return {
    ffn_norm: b.f32(`${n}ffn_norm.weight`, c.dim),
    ffn_gate_inp: b.dense(`${n}ffn_gate_inp.weight`, c.nExperts, c.dim),
    ffn_gate_tid2eid: hash
      ? b.bind(`${n}ffn_gate_tid2eid.weight`, [c.vocabSize, c.nExpertsUsed], I32_ONLY)
      : null,
    exp_probs_b: hash ? null : b.f32(`${n}exp_probs_b.bias`, c.nExperts),
    ffn_gate_exps: b.bind(`${n}ffn_gate_exps.weight`, up, EXPERT),
    ffn_up_exps: b.bind(`${n}ffn_up_exps.weight`, up, EXPERT),
    ffn_down_exps: b.bind(`${n}ffn_down_exps.weight`, [c.nExperts, c.dim, c.expertDim], EXPERT),
    ffn_gate_shexp: b.dense(`${n}ffn_gate_shexp.weight`, c.expertDim, c.dim),
    ffn_up_shexp: b.dense(`${n}ffn_up_shexp.weight`, c.expertDim, c.dim),
    ffn_down_shexp: b.dense(`${n}ffn_down_shexp.weight`, c.dim, c.expertDim),
  }
}

function checkExpertTypes(w: LayerWeights, l: number): void {
  if (w.ffn_gate_exps.type === w.ffn_up_exps.type) return
  throw new GgufError(
    `Layer ${l}: "ffn_gate_exps" is ${w.ffn_gate_exps.type} and "ffn_up_exps" is ` +
      `${w.ffn_up_exps.type}; both must share a type`,
  )
}

/** Largest F32 tensor whose values are looked at when a file is opened. */
const CHECKED_F32_BYTES = 1 << 20

/** Norms, biases, scales and sinks must be finite; a hash table must name experts that exist. */
function checkValues(file: GgufFile, buffer: DeviceBuffer, c: Config): void {
  if (!buffer.bytesAt) return
  for (const info of file.tensors.values()) {
    if (info.type === "F32" && info.bytes <= CHECKED_F32_BYTES) {
      const values = new Tensor(buffer, info.offset, "F32", info.dims.toReversed()).f32()
      const at = values.findIndex((v) => !Number.isFinite(v))
      if (at >= 0)
        throw new GgufError(
          `Tensor "${info.name}" holds ${values[at]} at ${at}`,
          info.offset + 4 * at,
        )
    } else if (info.name.endsWith("ffn_gate_tid2eid.weight")) {
      const ids = new Tensor(buffer, info.offset, "I32", info.dims.toReversed()).i32()
      const at = ids.findIndex((id) => id < 0 || id >= c.nExperts)
      if (at >= 0)
        throw new GgufError(
          `Tensor "${info.name}" names expert ${ids[at]} of ${c.nExperts}`,
          info.offset + 4 * at,
        )
    }
  }
}

/** Bytes of weights read to decode one token: everything but the embedding and the unused experts. */
export function weightBytesPerToken(w: Weights, c: Config): number {
  let bytes = w.output.bytes + w.output_hc.fn.bytes + w.output_norm.bytes
  for (const layer of w.layers)
    for (const part of Object.values(layer).flatMap(tensorsIn)) {
      const routed = part.dims.length === 3
      if (part !== layer.ffn_gate_tid2eid)
        bytes += routed ? (part.bytes / c.nExperts) * c.nExpertsUsed : part.bytes
    }
  return bytes
}

function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value]
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(tensorsIn) : []
}

/** Throws unless a context of a model fits what a file promises. */
export function checkContext(c: Config, context: number): void {
  if (!Number.isInteger(context) || context < 1)
    throw new ShapeError(`A context of ${context} tokens is no positive whole number`)
  if (context > c.contextLength)
    throw new ShapeError(`A context of ${context} tokens is beyond the model's ${c.contextLength}`)
}
