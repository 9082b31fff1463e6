/** How well a model foretells a text: the mean negative log-likelihood of its tokens. */
import type { Runtime } from "../session/runtime.ts"
import { runLogits } from "./logits-run.ts"

export interface Perplexity {
  /** Tokens that were foretold. */
  tokens: number
  /** Sum of -log p over them. */
  nll: number
}

export const perplexity = ({ tokens, nll }: Perplexity): number => Math.exp(nll / tokens)

/** Splits a text's ids into windows of at most `context` ids. Every window but the text's beginning
 *  has lost what came before it; each begins with BOS, where there is one, so that its first token is
 *  foretold too. */
export function windowsOf(ids: readonly number[], context: number, bos: number | undefined) {
  const head = bos === undefined ? [] : [bos]
  const step = context - head.length
  const windows: number[][] = []
  for (let at = 0; at < ids.length; at += step) windows.push([...head, ...ids.slice(at, at + step)])
  return windows
}

/** Scores the ids of a window but the first. Yields the sum so far after every layer. */
export function* scoreWindow(
  runtime: Runtime,
  ids: readonly number[],
  chunk: number,
): Generator<Perplexity, Perplexity> {
  const vocab = runtime.config.vocabSize
  const sum: Perplexity = { tokens: 0, nll: 0 }
  const sink = {
    logits(position: number, rows: Float32Array) {
      for (let at = 0; at < rows.length; at += vocab, position++) {
        const next = ids[position + 1]
        if (next === undefined) continue
        sum.nll -= logProbability(rows.subarray(at, at + vocab), next)
        sum.tokens++
      }
    },
  }
  for (const _ of runLogits(runtime, ids, chunk, sink)) yield sum
  return sum
}

/** log p of an id: its logit minus the log-sum-exp of all. */
function logProbability(logits: Float32Array, id: number): number {
  let max = -Infinity
  for (const v of logits) if (v > max) max = v
  let sum = 0
  for (const v of logits) sum += Math.exp(v - max)
  return logits[id]! - max - Math.log(sum)
}
