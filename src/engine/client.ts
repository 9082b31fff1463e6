/** The main thread's side: a typed client of the engine's Worker. */
import * as errors from "../errors.ts"
import type { EngineInfo } from "../generate/engine.ts"
import type { GenerateEnd, GenerateEvent, GenerateRequest } from "../generate/types.ts"
import type { Load } from "../session/scheduler.ts"
import type { ModelSource, OpenOptions } from "../session/open.ts"
import type { FromEngine, ToEngine } from "./protocol.ts"

/** A request under way: its events as they come, and a way to stop it. */
export interface Running {
  events: AsyncIterable<GenerateEvent>
  /** Ends the generation within a step; its last event says "abort". */
  abort(): void
}

/** How long the engine may take to write what is pending when it is closed. */
const CLOSE_MS = 3000

export class EngineClient {
  readonly info: EngineInfo
  /** As of the last step that had events. */
  load: Load = { running: 0, usedPages: 0 }
  readonly #worker: Worker
  readonly #streams = new Map<number, EventStream>()
  #nextId = 1
  #onClosed: (() => void) | undefined

  private constructor(worker: Worker, info: EngineInfo, warn: (text: string) => void) {
    this.#worker = worker
    this.info = info
    worker.onmessage = ({ data }: MessageEvent<FromEngine>) => {
      if (data.type === "warning") return warn(data.text)
      if (data.type === "closed") return this.#onClosed?.()
      if (data.type !== "events") return
      this.load = data.load
      for (const [id, event] of data.events) this.#deliver(id, event)
    }
    worker.onerror = (event) => {
      for (const stream of this.#streams.values()) stream.fail(new Error(event.message))
    }
  }

  /** Opens a model in a fresh Worker. `warn` hears what the user should know and what stops nothing.
   *  @throws what Engine.open throws. */
  static async open(
    worker: Worker,
    model: ModelSource,
    options: OpenOptions = {},
    warn: (text: string) => void = () => {},
  ): Promise<EngineClient> {
    const answer = new Promise<FromEngine>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<FromEngine>) => resolve(data)
      worker.onerror = (event) => reject(new Error(event.message))
    })
    worker.postMessage({ type: "open", model, options } satisfies ToEngine)
    const message = await answer
    if (message.type === "ready") return new EngineClient(worker, message.info, warn)
    worker.terminate()
    throw message.type === "failed" ? revive(message.error) : new Error("The engine did not open")
  }

  /** Starts a request. */
  generate(request: GenerateRequest): Running {
    const id = this.#nextId++
    const stream = new EventStream()
    this.#streams.set(id, stream)
    this.#send({ type: "generate", id, request })
    return { events: stream, abort: () => this.#send({ type: "abort", id }) }
  }

  /** Starts a request and waits for its end. @throws the error that ended it. */
  async complete(request: GenerateRequest): Promise<GenerateEnd> {
    for await (const event of this.generate(request).events)
      if (event.type === "end") {
        if (event.error) throw revive(event.error)
        return event
      }
    throw new Error("The generation ended without its last event")
  }

  /** Ends all requests and lets the engine write what is pending, at most so long. */
  async shutdown(limitMs = CLOSE_MS): Promise<void> {
    let timer: Timer | undefined
    await new Promise<void>((resolve) => {
      this.#onClosed = resolve
      timer = setTimeout(resolve, limitMs) // a long kernel does not hear us
      this.#send({ type: "close", limitMs })
    })
    clearTimeout(timer)
    this.close()
  }

  /** Ends at once; what is not yet on disk is lost. */
  close(): void {
    this.#worker.terminate()
  }

  #send(message: ToEngine): void {
    this.#worker.postMessage(message)
  }

  #deliver(id: number, event: GenerateEvent): void {
    this.#streams.get(id)?.push(event)
    if (event.type === "end") this.#streams.delete(id)
  }
}

/** Events in order, ending after the one of type "end". For one reader. */
class EventStream implements AsyncIterable<GenerateEvent> {
  readonly #events: GenerateEvent[] = []
  #wake: (() => void) | null = null
  #error: Error | null = null

  push(event: GenerateEvent): void {
    this.#events.push(event)
    this.#wake?.()
  }

  fail(error: Error): void {
    this.#error = error
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent, void, void> {
    for (;;) {
      const batch = this.#events.splice(0)
      for (const event of batch) {
        yield event
        if (event.type === "end") return
      }
      if (this.#error) throw this.#error
      if (this.#events.length > 0) continue
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = null
    }
  }
}

/** An error of the Worker as an error of the same class here. */
export function revive({ name, message }: { name: string; message: string }): Error {
  const known = (errors as unknown as Record<string, new (m: string) => Error>)[name]
  return known ? new known(message) : new Error(message)
}
