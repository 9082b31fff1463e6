/** A server on mini, in this process but for the engine's Worker. */
import { EngineClient } from "../../src/engine/client.ts"
import { type HttpServer, startServer } from "../../src/server/app.ts"
import type { Service } from "../../src/server/generate.ts"
import { Metrics } from "../../src/server/metrics.ts"
import { CallReplay } from "../../src/server/replay.ts"
import { readModelText } from "../../src/cli/engine.ts"
import { spawnEngine } from "../../src/spawn.ts"
import { MINI_Q8 } from "../support/models.ts"

/** Whatever JSON says: tests look at what they mean to. */
export type Answer = any

/** A question that mini knows the answer to, and a request for nothing but that. */
export const QUESTION = [{ role: "user", content: "What is the capital of France?" }]
export const PLAIN = { messages: QUESTION, temperature: 0, reasoning_effort: "none" }

export interface TestServer {
  url: string
  service: Service
  log: string[]
  /** The answer to a POST as plain values. */
  ask(path: string, body: object): Promise<Answer>
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>
  /** Waits until no generation runs or waits, neither here nor in the engine. */
  idle(): Promise<void>
  close(): Promise<void>
}

export interface TestServerOptions {
  apiKey?: string
  strictFields?: boolean
  /** Sequences, and requests that may run or wait. */
  nSeqs?: number
  maxRequests?: number
  context?: number
  patienceS?: number
}

export async function serveMini(options: TestServerOptions = {}): Promise<TestServer> {
  const { apiKey, strictFields = false, patienceS = 30 } = options
  const log: string[] = []
  const ready = openMini(options)
  const say = (line: string) => void log.push(line)
  const listen = { host: "127.0.0.1", port: 0, apiKey, strictFields, patienceS, log: say }
  const server: HttpServer = startServer(listen, ready)
  const service = await ready
  const url = server.url.replace(/\/$/, "")
  const post: TestServer["post"] = (path, body, init = {}) =>
    fetch(url + path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
    })
  return {
    url,
    service,
    log,
    post,
    ask: async (path, body) => (await post(path, body)).json(),
    async idle() {
      const { metrics, client } = service
      const isBusy = () => metrics.running > 0 || client.load.running > 0
      for (let i = 0; i < 3000 && isBusy(); i++) await Bun.sleep(10)
    },
    async close() {
      await server.stop()
      service.client.close()
    },
  }
}

async function openMini({
  nSeqs = 4,
  context = 4096,
  maxRequests = 8,
}: TestServerOptions): Promise<Service> {
  const options = { nSeqs, context, threads: 2 }
  const client = await EngineClient.open(spawnEngine(), { path: MINI_Q8 }, options)
  const { tokenizer } = await readModelText(MINI_Q8)
  return {
    model: "ds4-mini",
    tokenizer,
    client,
    metrics: new Metrics(),
    kept: new Map(),
    replay: new CallReplay(tokenizer),
    log: () => {},
    maxRequests,
  }
}

/** The data of each event of a stream; the last is "[DONE]" if it ended well. */
export async function eventsOf(response: Response): Promise<unknown[]> {
  const text = await response.text()
  return text
    .split("\n\n")
    .flatMap((event) => event.match(/^data: (.*)$/m)?.[1] ?? [])
    .map((data) => (data === "[DONE]" ? data : JSON.parse(data)))
}
