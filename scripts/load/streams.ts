/** Tokens a second at 1, 2, 4 and 8 streams, and what memory alone would allow. */
import { bytesPerToken } from "../../src/tools/bench-cost.ts"
import { measureBandwidth } from "../../src/tools/bench-bandwidth.ts"
import { openServer, type Timeline } from "./server.ts"
import { openRuntime } from "../../src/session/open.ts"

const STREAMS = [1, 2, 4, 8]
const TOKENS = 48
const ROUNDS = 4

/** Measures a model through the server and prints a table. */
export async function measureStreams(path: string): Promise<void> {
  const traffic = trafficOf(path)
  const server = await openServer(path, { nSeqs: 8, context: 1024 })
  const best = STREAMS.map(() => 0)
  try {
    for (let round = -1; round < ROUNDS; round++)
      for (const [k, n] of STREAMS.entries()) {
        const bodies = Array.from({ length: n }, (_, i) => ({
          prompt: `Stream ${i} of ${n}, round ${round}: a text of its own, number ${31 * i + n}.`,
          max_tokens: TOKENS + i,
          temperature: 0,
        }))
        const rate = rateOf(await server.stream(bodies))
        if (round >= 0) best[k] = Math.max(best[k]!, rate)
        console.error(`round ${round}, ${n} streams: ${rate.toFixed(1)} t/s`)
      }
  } finally {
    await server.close()
  }
  console.log("streams   t/s   times one   by memory alone: t/s   times one")
  const byMemory = STREAMS.map((n) => (n * traffic.bandwidth) / traffic.bytes(n))
  STREAMS.forEach((n, k) => {
    const [own, roof] = [best[k]!, byMemory[k]!]
    const times = [own / best[0]!, roof / byMemory[0]!].map((x) => x.toFixed(2).padStart(9))
    console.log(
      `${n}`.padStart(7) +
        own.toFixed(1).padStart(8) +
        times[0] +
        roof.toFixed(1).padStart(22) +
        times[1]!.padStart(13),
    )
  })
  console.log(`bandwidth ${(traffic.bandwidth / 1e9).toFixed(1)} GB/s`)
}

/** Tokens a second while all streams decode. */
function rateOf(streams: readonly Timeline[]): number {
  const from = Math.max(...streams.map(({ chosen }) => chosen[0]!))
  const to = Math.min(...streams.map(({ chosen }) => chosen.at(-1)!))
  const n = streams.reduce((sum, s) => sum + s.chosen.filter((t) => t > from && t <= to).length, 0)
  return (1000 * n) / (to - from)
}

/** Bytes of a step of n rows: what all rows share once, and of each layer's experts those that at least one of
 *  n rows chose, if each chose at random. */
function trafficOf(path: string): { bandwidth: number; bytes(n: number): number } {
  const runtime = openRuntime({ path }, { context: 1024 })
  const { config, file, model, backend } = runtime
  const one = bytesPerToken(file, model, 64)
  const { nExperts, nExpertsUsed } = config
  const experts = [...file.tensors.values()].filter(({ name }) =>
    /ffn_(gate|up|down)_exps/.test(name),
  )
  const all = experts.reduce((sum, t) => sum + t.bytes, 0)
  const chosen = (n: number) => 1 - (1 - nExpertsUsed / nExperts) ** n
  const bandwidth = measureBandwidth(backend)!.bytesPerSecond
  runtime.close()
  return { bandwidth, bytes: (n) => one + all * (chosen(n) - chosen(1)) }
}
