/** Every activation buffer of a step: name, shape, purpose. All memory is taken when the model is
 *  opened; a step of n rows sees the first n rows of each buffer. */
import type { Backend } from "../ops/backend.ts"
import type { RowSizes } from "./kv-cache.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { ROW_WORDS } from "../ops/shapes.ts"
import { type DeviceBuffer, Tensor, type TensorType } from "../ops/tensor.ts"
import type { Config } from "./config.ts"

interface Spec {
  type: TensorType
  /** Dims of one row. */
  dims: number[]
  /** Name of the buffer whose memory this one shares, under other dims. */
  alias?: string
}

const f32 = (...dims: number[]): Spec => ({ type: "F32", dims })
const i32 = (...dims: number[]): Spec => ({ type: "I32", dims })
const bytes = (n: number): Spec => ({ type: "U8", dims: [n] })
const alias = (name: string, ...dims: number[]): Spec => ({ type: "F32", dims, alias: name })

// prettier-ignore
function stepLayout(c: Config, kvBytes: number, indexBytes: number) {
  const hc = c.hcMult
  const pairs = c.ropeDim / 2
  return {
    rows: i32(ROW_WORDS),                          // ds4_row of each row
    ropeRaw: f32(pairs, 2),                        // rotation at the token's position, window-only layers
    rope: f32(pairs, 2),                           // the same for compressed layers
    ropeBlock4: f32(pairs, 2),                     // rotation at the start of the block of 4
    ropeBlock128: f32(pairs, 2),                   // … of 128
    streams: f32(hc, c.dim),                       // residual streams
    flat: f32(hc * c.dim),                         // streams, normed
    flatStreams: alias("streams", hc * c.dim),
    mix: f32(2 * hc + hc * hc),
    pre: f32(hc),
    post: f32(hc),
    comb: f32(hc, hc),
    x: f32(c.dim),                                 // input of a sub-layer
    xNorm: f32(c.dim),
    out: f32(c.dim),                               // output of a sub-layer
    qa: f32(c.qLoraRank),
    qr: f32(c.qLoraRank),                          // normed low-rank query; also feeds the indexer
    q: f32(c.nHeads, c.headDim),
    kv: f32(c.headDim),                            // this token's latent row
    kvHead: alias("kv", 1, c.headDim),
    kvPacked: bytes(kvBytes),
    heads: f32(c.nHeads, c.headDim),               // attention output per head
    low: f32(c.oGroups * c.oLoraRank),
    k4: f32(2 * c.headDim),                        // compressor projections, ratio 4
    s4: f32(2 * c.headDim),
    k128: f32(c.headDim),                          // … ratio 128
    s128: f32(c.headDim),
    pooled: f32(c.headDim),                        // compressed row, where a block completes
    pooledHead: alias("pooled", 1, c.headDim),
    pooledPacked: bytes(kvBytes),
    kIndex: f32(2 * c.indexHeadDim),               // … of the indexer
    sIndex: f32(2 * c.indexHeadDim),
    pooledIndex: f32(c.indexHeadDim),
    pooledIndexHead: alias("pooledIndex", 1, c.indexHeadDim),
    pooledIndexPacked: bytes(indexBytes),
    indexQ: f32(c.indexHeads, c.indexHeadDim),
    indexW: f32(c.indexHeads),
    indexSel: i32(c.indexTopK),                    // chosen compressed rows, ascending
    routerLogits: f32(c.nExperts),
    expertSel: i32(c.nExpertsUsed),
    expertWeights: f32(c.nExpertsUsed),
    expertHidden: f32(c.nExpertsUsed, c.expertDim),
    sharedGate: f32(c.expertDim),
    sharedUp: f32(c.expertDim),
    shared: f32(c.dim),
  } satisfies Record<string, Spec>
}

// prettier-ignore
function outputLayout(c: Config) {
  const hc = c.hcMult
  return {
    index: { type: "I32", dims: [] } as Spec,      // rows of the step whose logits are wanted
    streams: f32(hc, c.dim),
    flat: f32(hc * c.dim),
    flatStreams: alias("streams", hc * c.dim),
    mix: f32(hc),
    weights: f32(hc),
    x: f32(c.dim),
    xNorm: f32(c.dim),
    logits: f32(c.vocabSize),
  } satisfies Record<string, Spec>
}

/** Buffers of a step of n rows. */
export type Activations = Record<keyof ReturnType<typeof stepLayout>, Tensor>
/** Buffers of the output head for n rows. */
export type OutputActivations = Record<keyof ReturnType<typeof outputLayout>, Tensor>

/** A set of buffers for up to `maxRows` rows, seen as tensors of exactly n rows. */
class Arena<K extends string> {
  readonly bytes: number
  readonly #buffer: DeviceBuffer
  readonly #layout: Record<K, Spec>
  readonly #offsets = new Map<string, number>()
  readonly #byRows = new Map<number, Record<K, Tensor>>()
  readonly maxRows: number

  constructor(backend: Backend, layout: Record<K, Spec>, maxRows: number, what: string) {
    this.#layout = layout
    this.maxRows = maxRows
    this.bytes = 0
    for (const [name, spec] of Object.entries<Spec>(layout)) {
      if (spec.alias) continue
      this.#offsets.set(name, this.bytes)
      const size = spec.dims.reduce((a, b) => a * b, spec.type === "U8" ? 1 : 4) * maxRows
      this.bytes += Math.ceil(size / 64) * 64
    }
    this.#buffer = backend.alloc(this.bytes, what)
  }

  rows(n: number): Record<K, Tensor> {
    const known = this.#byRows.get(n)
    if (known) return known
    const made = {} as Record<K, Tensor>
    for (const [name, spec] of Object.entries<Spec>(this.#layout))
      made[name as K] = new Tensor(
        this.#buffer,
        this.#offsets.get(spec.alias ?? name)!,
        spec.type,
        [n, ...spec.dims],
      )
    this.#byRows.set(n, made)
    return made
  }

  close(backend: Backend): void {
    backend.free(this.#buffer)
  }
}

export class Scratch {
  readonly maxRows: number
  readonly maxOutputs: number
  readonly bytes: number
  readonly #backend: Backend
  readonly #step: Arena<keyof Activations>
  readonly #output: Arena<keyof OutputActivations>

  /** Room for steps of up to maxRows tokens, of which maxOutputs give logits at a time. */
  constructor(backend: Backend, c: Config, maxRows: number, maxOutputs: number) {
    this.#backend = backend
    this.maxRows = maxRows
    this.maxOutputs = maxOutputs
    const kvBytes = backend.kvRowBytes(c.headDim, c.ropeDim)
    const step = stepLayout(c, kvBytes, backend.indexRowBytes(c.indexHeadDim))
    this.#step = new Arena<keyof Activations>(backend, step, maxRows, "activations")
    this.#output = new Arena<keyof OutputActivations>(
      backend,
      outputLayout(c),
      maxOutputs,
      "logits",
    )
    this.bytes = this.#step.bytes + this.#output.bytes
  }

  /** Buffers of a step of n rows; the same objects for the same n. */
  step(n: number): Activations {
    return this.#step.rows(n)
  }

  /** Buffers of the output head for n rows. */
  output(n: number): OutputActivations {
    return this.#output.rows(n)
  }

  close(): void {
    this.#step.close(this.#backend)
    this.#output.close(this.#backend)
  }
}

/** Bytes that Scratch takes, without taking them. */
export function scratchBytes(
  backend: RowSizes,
  c: Config,
  maxRows: number,
  maxOutputs: number,
): number {
  const none = {
    kvRowBytes: (dim: number, ropeDim: number) => backend.kvRowBytes(dim, ropeDim),
    indexRowBytes: (dim: number) => backend.indexRowBytes(dim),
    alloc: (bytes: number) => ({ address: 0, bytes }),
  }
  return new Scratch(none as Partial<Backend> as Backend, c, maxRows, maxOutputs).bytes
}

/** Rows per step that pay off without taking much memory: one page. */
export const DEFAULT_STEP_ROWS = 4 * PAGE_TOKENS
