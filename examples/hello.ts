/** Ask ds4-mini something: `bun examples/hello.ts "What is 7 + 5?"`. */
import { Engine } from "../src/index.ts"

const question = process.argv[2] ?? "What is 2 + 2?"
const engine = await Engine.load({ path: `${import.meta.dir}/../models/ds4-mini/ds4-mini-q8.gguf` })

// A conversation becomes token ids; the request says how many tokens may come and how they are chosen.
const prompt = engine.prompt(
  { messages: [{ role: "user", content: question }] },
  { thinking: false },
)
const answer = engine.generate({ ...prompt, maxTokens: 100, sampling: { temperature: 0 } })

console.log(answer.text)
console.error(
  `${answer.usage.completionTokens} tokens, ${answer.timings.firstTokenMs.toFixed()} ms`,
)
engine.close()
