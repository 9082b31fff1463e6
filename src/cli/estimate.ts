/** How long a prompt will take to read, before and while it is read. */
import type { Config } from "../model/config.ts"

/** Weights that a core multiplies in a second: 15 prompt tokens of the full model on two cores. */
const WEIGHTS_PER_CORE_SECOND = 1e11
/** … and that the reference does, which is there to be right. */
const REFERENCE_WEIGHTS_PER_SECOND = 4e8
const DISK_BYTES_PER_SECOND = 1.5e9
/** Waits longer than this are announced. */
const ANNOUNCED_SECONDS = 10

/** Weights that one token meets: attention, chosen and shared experts, output head. */
export function activeWeights(c: Config): number {
  const heads = c.nHeads * c.headDim
  const attention =
    c.dim * (c.qLoraRank + c.headDim) +
    c.qLoraRank * heads +
    heads * c.oLoraRank +
    c.oGroups * c.oLoraRank * c.dim
  const experts = 3 * (c.nExpertsUsed + 1) * c.dim * c.expertDim
  return c.nLayers * (attention + experts) + c.vocabSize * c.dim
}

/** Prompt tokens a second that a backend with so many threads can be expected to read. */
export function expectedRate(c: Config, threads: number, backend = "cpu"): number {
  const weights =
    backend === "reference" ? REFERENCE_WEIGHTS_PER_SECOND : WEIGHTS_PER_CORE_SECOND * threads
  return weights / activeWeights(c)
}

/** A line that announces a long wait for the first token, or undefined for a short one. `coldBytes` of
 *  weights may have to come from the disk. */
export function waitNotice(tokens: number, rate: number, coldBytes = 0): string | undefined {
  const seconds = tokens / rate + coldBytes / DISK_BYTES_PER_SECOND
  if (seconds < ANNOUNCED_SECONDS) return undefined
  return `Reading ${tokens} tokens first, about ${duration(seconds)}`
}

/** Progress of reading a prompt: `Reading 512 of 2048 tokens (25 %, 310 tokens/s, 5 s left)`. */
export function prefillText(
  { done, total, cached }: { done: number; total: number; cached: number },
  elapsedMs: number,
): string {
  const head = `Reading ${done} of ${total} tokens (${Math.floor((100 * done) / total)} %`
  if (done <= cached || elapsedMs <= 0) return `${head})`
  const rate = (1000 * (done - cached)) / elapsedMs
  return `${head}, ${figure(rate)} tokens/s, ${duration((total - done) / rate)} left)`
}

/** A rate with three figures at most. */
export const figure = (n: number): string => (n < 10 ? n.toFixed(2) : n.toFixed(n < 100 ? 1 : 0))

/** Seconds in words: `8 s`, `3 min`, `2.5 h`. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}
