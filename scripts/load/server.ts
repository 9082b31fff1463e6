/** A server in this thread, its engine and its clients in threads of their own. */
import { readModelText } from "../../src/cli/engine.ts"
import { EngineClient } from "../../src/engine/client.ts"
import { startServer } from "../../src/server/app.ts"
import { Metrics } from "../../src/server/metrics.ts"
import { CallReplay } from "../../src/server/replay.ts"
import type { Service } from "../../src/server/generate.ts"
import type { OpenOptions } from "../../src/session/open.ts"
import { type Arrivals, type Ask, STAMPS, type Stamps } from "./protocol.ts"

/** Served requests that may wait beside those that run. */
const QUEUE = 64

export interface LoadServer {
  url: string
  service: Service
  /** Streams completions and says when each token was chosen and when it came. */
  stream(bodies: readonly Completion[]): Promise<Timeline[]>
  close(): Promise<void>
}

export interface Completion {
  prompt: string | number[]
  max_tokens: number
  temperature?: number
  seed?: number
}

/** Of one stream, in milliseconds. */
export interface Timeline {
  chosen: number[]
  /** For each piece of text, when its last token was chosen, and when the client had it. */
  said: number[]
  came: number[]
}

/** Opens a model behind a server on a free port of loopback. */
export async function openServer(path: string, options: OpenOptions): Promise<LoadServer> {
  const engine = new Worker(new URL("./stamping-worker.ts", import.meta.url))
  const clients = new Worker(new URL("./client-worker.ts", import.meta.url))
  const { tokenizer } = await readModelText(path)
  const service: Service = {
    model: "load",
    tokenizer,
    client: await EngineClient.open(engine, { path }, options),
    metrics: new Metrics(),
    kept: new Map(),
    replay: new CallReplay(tokenizer),
    log: () => {},
    maxRequests: (options.nSeqs ?? 1) + QUEUE,
  }
  const log = (line: string) => console.error(line)
  const own = { host: "127.0.0.1", port: 0, apiKey: undefined, strictFields: true, log }
  const server = startServer(own, Promise.resolve(service))
  const stamps = new Map<number, Stamps>()
  const channel = new BroadcastChannel(STAMPS)
  channel.onmessage = ({ data }: MessageEvent<Stamps>) => void stamps.set(data.tag, data)
  return {
    url: server.url,
    service,
    stream: (bodies) => streamAll(clients, `${server.url}v1/completions`, bodies, service, stamps),
    async close() {
      await server.stop()
      service.client.close()
      clients.terminate()
      channel.close()
    },
  }
}

async function streamAll(
  clients: Worker,
  url: string,
  bodies: readonly Completion[],
  { tokenizer }: Service,
  stamps: Map<number, Stamps>,
): Promise<Timeline[]> {
  // Nothing ends early: tokens that end an answer are never chosen.
  const enders = ["<｜User｜>", "<｜Assistant｜>"].map((name) => tokenizer.id(name))
  const never = [tokenizer.eosId, tokenizer.bosId, ...enders].filter((id) => id !== undefined)
  const logit_bias = Object.fromEntries(never.map((id) => [id, -100]))
  const full = bodies.map((body) => ({ ...body, logit_bias, stream: true }))
  const done = Promise.withResolvers<Arrivals>()
  clients.onmessage = ({ data }: MessageEvent<Arrivals>) => done.resolve(data)
  clients.onerror = (event) => done.reject(new Error(event.message))
  clients.postMessage({ url, bodies: full } satisfies Ask)
  const { came } = await done.promise
  await Bun.sleep(20) // the last stamps come by another channel
  return bodies.map(({ max_tokens }, i) => ({
    ...stamps.get(max_tokens)!,
    came: came[i]!,
  }))
}
