/** How late the main thread is while generations run, and how long a token takes from the moment it is chosen
 *  to its client. */
import { openServer } from "./server.ts"

const STREAMS = 8
const TICK_MS = 2
const ROUNDS = 4

/** Measures a model with prompts of so many words and answers of so many tokens, and prints quantiles of each
 *  round. */
export async function measureLatency(path: string, words: number, tokens: number): Promise<void> {
  const context = 2 * words + 2 * tokens + 1024
  const server = await openServer(path, { nSeqs: STREAMS, context })
  try {
    for (let round = -1; round < ROUNDS; round++) {
      const bodies = Array.from({ length: STREAMS }, (_, i) => ({
        prompt: `${round} ${i} ${"and a word ".repeat(words / 3)}`,
        max_tokens: tokens + i,
        temperature: 0,
      }))
      const delays = watchLoop()
      const streams = await server.stream(bodies)
      const loop = delays()
      if (streams.some(({ said, came }) => said.length !== came.length))
        throw new Error("Pieces of text were lost or joined on the way")
      const delivery = streams.flatMap(({ said, came }) => came.map((at, k) => at - said[k]!))
      if (round < 0) continue
      console.log(`main thread late by  ${quantiles(loop)}`)
      console.log(`token to its client  ${quantiles(delivery)}`)
    }
  } finally {
    await server.close()
  }
}

/** Milliseconds by which each of many timers was late, until the returned function is called. */
function watchLoop(): () => number[] {
  const late: number[] = []
  let due = performance.now() + TICK_MS
  const timer = setInterval(() => {
    const at = performance.now()
    late.push(Math.max(0, at - due))
    due = at + TICK_MS
  }, TICK_MS)
  return () => {
    clearInterval(timer)
    return late
  }
}

function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
  const text = [0.5, 0.9, 0.99, 1].map((q) => `p${100 * q} ${at(q).toFixed(2)}`)
  return `${text.join("  ")} ms (${values.length})`
}
