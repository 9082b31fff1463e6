/** Sampling flags as the engine takes them. */
import type { SamplingParams } from "../session/sampler.ts"
import type { Args } from "./options.ts"

export function samplingOf(args: Args): Partial<SamplingParams> {
  const flags = { temperature: "temp", topP: "topP", topK: "topK", minP: "minP", seed: "seed" }
  const out: Record<string, number> = {}
  for (const [name, flag] of Object.entries(flags)) {
    const value = args.number(flag)
    if (value !== undefined) out[name] = value
  }
  return out
}
