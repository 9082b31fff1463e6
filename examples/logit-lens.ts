/** What would the model say if it ended after each layer? The output head is put on the streams that
 *  every layer leaves behind: `bun examples/logit-lens.ts "What is the capital of France?"`. */
import { Engine } from "../src/index.ts"

const question = process.argv[2] ?? "What is the capital of France?"
const engine = await Engine.load(
  { path: `${import.meta.dir}/../models/ds4-mini/ds4-mini-q8.gguf` },
  { nSeqs: 2 },
)
const { runtime, tokenizer } = engine
const prompt = engine.prompt(
  { messages: [{ role: "user", content: question }] },
  { thinking: false },
)

/** The most likely tokens of a row of logits. */
function top(logits: Float32Array, n: number): string[] {
  const max = Math.max(...logits)
  const sum = logits.reduce((all, v) => all + Math.exp(v - max), 0)
  const best = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!).slice(0, n)
  return best.map((id) => {
    const percent = (100 * Math.exp(logits[id]! - max)) / sum
    return `${JSON.stringify(tokenizer.decode([id]))} ${percent.toFixed()}%`.padEnd(16)
  })
}

// The model's own greedy answer, a few tokens of it, is looked at position by position.
const { ids } = engine.generate({ ...prompt, maxTokens: 8, sampling: { temperature: 0 } })
const all = [...prompt.ids, ...ids.slice(0, -1)]
const seq = runtime.sequence()
const first = prompt.ids.length - 1
const rows = all.map((_, i) => i).slice(first)

const lines: string[][] = rows.map(() => [])
const work = { seq, ids: all, logits: "none" as const }
const steps = runtime.steps([work], undefined, (_, s) => {
  const logits = runtime.logits(s, rows).f32()
  const vocab = runtime.config.vocabSize
  rows.forEach((_, i) =>
    lines[i]!.push(top(logits.subarray(i * vocab, (i + 1) * vocab), 4).join("")),
  )
})
for (const _ of steps) void _

rows.forEach((row, i) => {
  console.log(`after ${JSON.stringify(tokenizer.decode([all[row]!]))}`)
  lines[i]!.forEach((line, layer) => console.log(`  layer ${layer}  ${line}`))
})
engine.close()
