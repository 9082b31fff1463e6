/** Where the time of a token goes: by kind of layer, and what the full model would take. */
import { NumericalError } from "../errors.ts"
import { type CompressRatio, type Config, FULL_RATIOS, shapeName } from "../model/config.ts"
import { beginStep, forwardLayer } from "../model/transformer.ts"
import type { Candidates } from "../session/candidates.ts"
import type { Runtime, Work } from "../session/runtime.ts"
import type { Sampler } from "../session/sampler.ts"
import type { Sequence } from "../session/sequence.ts"

/** Milliseconds of one decoded token. */
export interface LayerTimes {
  /** Of one layer of each kind that the model has. */
  byRatio: ReadonlyMap<CompressRatio, number>
  /** Output head, candidates and the choice. */
  head: number
  /** Row table, embedding, rotations. */
  begin: number
}

/** Tokens that are timed layer by layer. */
export const TIMED_TOKENS = 8

const NS_PER_MS = 1e6

interface Tools {
  seq: Sequence
  candidates: Candidates
  sampler: Sampler
}

/** Decodes some tokens from `first` on, in the loop of Runtime.steps with a clock between the layers.
 *  `end` is where the prompt ended. */
export function timeDecodeLayers(
  runtime: Runtime,
  { seq, candidates, sampler }: Tools,
  first: number,
  end: number,
): LayerTimes {
  const { model, config } = runtime
  const samples: number[][] = Array.from({ length: config.nLayers + 2 }, () => [])
  let id = first
  for (let i = 0; i < TIMED_TOKENS; i++) {
    let before = Bun.nanoseconds()
    const lap = (place: number) => {
      const now = Bun.nanoseconds()
      samples[place]!.push(now - before)
      before = now
    }
    const work: Work[] = [{ seq, ids: [id], logits: "last", end }]
    const { s, rows } = runtime.begin(work)
    beginStep(model, s)
    lap(config.nLayers)
    for (let l = 0; l < config.nLayers; l++) {
      forwardLayer(model, l, runtime.kv.layers[l]!, s, rows)
      lap(l)
    }
    runtime.advance(work)
    const row = candidates.read(runtime.logits(s, [0]), [sampler.delta])[0]!
    if (row.bad) throw new NumericalError("The model computed NaN or infinity")
    seq.verify()
    id = sampler.pick(row)
    lap(config.nLayers + 1)
  }
  const ms = samples.map((values) => median(values) / NS_PER_MS)
  return {
    byRatio: meanByRatio(config, ms),
    begin: ms[config.nLayers]!,
    head: ms[config.nLayers + 1]!,
  }
}

/** Mean over the layers of each kind. */
export function meanByRatio(c: Config, perLayer: readonly number[]): Map<CompressRatio, number> {
  const ratios = [...new Set(c.compressRatios)].toSorted((a, b) => a - b)
  return new Map(
    ratios.map((ratio) => {
      const values = perLayer.filter((_, l) => c.compressRatios[l] === ratio)
      return [ratio, values.reduce((a, b) => a + b, 0) / values.length]
    }),
  )
}

/** Whether the layers are those of the full model, so that more of them take as much longer. The
 *  number of experts may differ: a token meets as many. */
export function hasFullLayers(c: Config): boolean {
  const counts = { nLayers: FULL_RATIOS.length, nHashLayers: 3, nExperts: 256 }
  return shapeName({ ...c, ...counts, compressRatios: FULL_RATIOS }) === "full model"
}

/** Time of all 43 layers from the times of one layer of each kind and of what stands beside them;
 *  undefined where a kind has not been measured. */
export function fullModelMs(
  byRatio: ReadonlyMap<CompressRatio, number>,
  rest: number,
): number | undefined {
  let ms = rest
  for (const ratio of FULL_RATIOS) {
    const one = byRatio.get(ratio)
    if (one === undefined) return undefined
    ms += one
  }
  return ms
}

/** The middle value; of two middle ones the upper. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
