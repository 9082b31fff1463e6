/** Asks a few prompts again and again, in an order of its own, with a small budget on a shared folder;
 *  prints the answers, and fails if a prompt ever gets another one. */
import { EngineClient } from "../../src/engine/client.ts"
import { spawnEngine } from "../../src/spawn.ts"
import { promptIds } from "./disk.ts"
import { randomBelow } from "./fuzz-gguf.ts"
import { MINI_Q2 } from "./models.ts"

const PROMPTS = 6
const [dir = "", seed = "1"] = process.argv.slice(2)
// About three of the six prompts fit on disk, and one in memory.
const options = { context: 512, threads: 1, disk: { dir, budget: 1_600_000 } }
const client = await EngineClient.open(spawnEngine(), { path: MINI_Q2 }, options, (text) => {
  throw new Error(text)
})
const below = randomBelow(Number(seed))
const answers = new Map<number, number[]>()
for (let i = 0; i < 30; i++) {
  const prompt = i < PROMPTS ? i : below(PROMPTS)
  const ids = promptIds(450, 50 + prompt, 130)
  const { ids: answer } = await client.complete({
    ids,
    format: "raw",
    maxTokens: 6,
    sampling: { temperature: 0 },
    marks: [200],
  })
  const before = answers.get(prompt)
  if (before && before.join() !== answer.join()) throw new Error(`prompt ${prompt} changed`)
  answers.set(prompt, answer)
}
await client.shutdown()
console.log(JSON.stringify(Object.fromEntries([...answers].toSorted(([a], [b]) => a - b))))
process.exit(0)
