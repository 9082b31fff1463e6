/** The answer as it comes, reasoning dimmed: `bun examples/stream.ts "How much is 17 + 25?"`. */
import { Engine, type GenerateEvent } from "../src/index.ts"

const question = process.argv[2] ?? "What is 17 + 25?"
const engine = await Engine.load({ path: `${import.meta.dir}/../models/ds4-mini/ds4-mini-q8.gguf` })
const prompt = engine.prompt({ messages: [{ role: "user", content: question }] })

const dim = (text: string) => (process.stdout.isTTY ? `\x1b[2m${text}\x1b[22m` : text)
let part = ""

function show(event: GenerateEvent): void {
  // Other events: prefill (progress of the prompt), token (each id), call_* (tool calls).
  if (event.type === "thinking" || event.type === "text") {
    if (part !== "" && part !== event.type) process.stdout.write("\n")
    part = event.type
    process.stdout.write(part === "thinking" ? dim(event.text) : event.text)
  } else if (event.type === "end") {
    const perSecond = (event.ids.length - 1) / (event.timings.decodeMs / 1000)
    console.log(`\n${dim(`${event.reason}, ${perSecond.toFixed()} tokens/s`)}`)
  }
}

engine.generate({ ...prompt, maxTokens: 300, sampling: { temperature: 0 } }, show)
engine.close()
