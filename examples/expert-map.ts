/** Which experts fire, per layer, for each token of a prompt and its answer, as a picture:
 *  `bun examples/expert-map.ts "Tell me a story."`. Layers that route by token id show it: equal tokens,
 *  equal experts. */
import { Engine } from "../src/index.ts"

const question = process.argv[2] ?? "Tell me a story about a sheep."
const engine = await Engine.load(
  { path: `${import.meta.dir}/../models/ds4-mini/ds4-mini-q8.gguf` },
  { nSeqs: 2 },
)
const { runtime } = engine
const { nExperts, nExpertsUsed, nLayers, nHashLayers, expertWeightsScale } = runtime.config

const prompt = engine.prompt(
  { messages: [{ role: "user", content: question }] },
  { thinking: false },
)
const answer = engine.generate({ ...prompt, maxTokens: 60, sampling: { temperature: 0 } })
const ids = [...prompt.ids, ...answer.ids]

// One step over all tokens; after each layer its choice lies in expertSel and expertWeights.
const chosen: Int32Array[] = [] // per layer [nTokens, nExpertsUsed]
const weights: Float32Array[] = []
const work = { seq: runtime.sequence(), ids, logits: "none" as const }
const steps = runtime.steps([work], undefined, (layer, s) => {
  chosen[layer] = s.expertSel.i32().slice() // views of memory that the next layer reuses
  weights[layer] = s.expertWeights.f32().slice()
})
for (const _ of steps) void _

// A line per expert, a column per token: the more of the token's weight it has, the darker.
const SHADES = " ░▒▓█"
for (let layer = 0; layer < nLayers; layer++) {
  console.log(`layer ${layer}, ${layer < nHashLayers ? "by token" : "by score"}`)
  const total = Array.from(weights[layer]!).reduce((a, b) => a + b)
  for (let expert = 0; expert < nExperts; expert++) {
    const cells = new Array<string>(ids.length).fill(" ")
    let share = 0
    chosen[layer]!.forEach((e, i) => {
      if (e !== expert) return
      const token = Math.floor(i / nExpertsUsed)
      share += weights[layer]![i]! / total
      const part = weights[layer]![i]! / expertWeightsScale // 0 … 1
      cells[token] = SHADES[Math.ceil(part * 4)]!
    })
    const percent = `${(100 * share).toFixed()}%`.padStart(4)
    console.log(`${String(expert).padStart(4)} ${percent} ${cells.join("")}`)
  }
}
engine.close()
