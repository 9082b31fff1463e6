/** Sampling flags as the engine takes them. */
import type { SamplingParams } from "../session/sampler.ts"
import type { Args } from "./options.ts"

/** Only what was asked for; the engine knows the rest. */
export function samplingOf(args: Args): Partial<SamplingParams> {
  const out: Partial<SamplingParams> = {}
  const set = (name: "temperature" | "topP" | "topK" | "minP", flag: string) => {
    const value = args.number(flag)
    if (value !== undefined) out[name] = value
  }
  set("temperature", "temp")
  set("topP", "topP")
  set("topK", "topK")
  set("minP", "minP")
  const seed = args.bigint("seed")
  if (seed !== undefined) out.seed = seed
  return out
}
