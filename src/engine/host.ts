/** The Worker's side: owns the engine, runs its scheduler, and lets messages in between layers
 *  (design D1). */
import { Engine } from "../generate/engine.ts"
import type { GenerateEvent, GenerateRequest } from "../generate/types.ts"
import type { FromEngine, ToEngine } from "./protocol.ts"

export interface Port {
  postMessage(message: FromEngine): void
}

export class EngineHost {
  readonly #port: Port
  #engine: Engine | null = null
  #running = false
  readonly #aborts = new Map<number, () => void>()
  #events: [number, GenerateEvent][] = []

  constructor(port: Port) {
    this.#port = port
  }

  /** Takes one message of the main thread. */
  receive(message: ToEngine): void {
    switch (message.type) {
      case "open":
        return void this.#open(message)
      case "abort":
        return this.#aborts.get(message.id)?.()
      case "generate":
        return this.#generate(message)
      case "close":
        return void this.#close(message.limitMs)
    }
  }

  #generate({ id, request }: ToEngine & { type: "generate" }): void {
    const emit = (event: GenerateEvent) => {
      this.#events.push([id, event])
      if (event.type === "end") this.#aborts.delete(id)
    }
    try {
      this.#aborts.set(id, this.#engine!.start(request, emit))
    } catch (error) {
      emit(failedEnd(request, error))
      if (!this.#running) this.#flush()
    }
    if (!this.#running) void this.#run()
  }

  async #open({ model, options }: ToEngine & { type: "open" }): Promise<void> {
    try {
      this.#engine = await Engine.load(model, options)
      this.#engine.onWarning = (text) => this.#port.postMessage({ type: "warning", text })
      this.#port.postMessage({ type: "ready", info: this.#engine.info })
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      this.#port.postMessage({ type: "failed", error: { name, message } })
    }
  }

  async #close(limitMs: number): Promise<void> {
    const end = performance.now() + limitMs
    for (const abort of this.#aborts.values()) abort()
    while (this.#running && performance.now() < end) await turn()
    await this.#engine?.save(end - performance.now())
    this.#port.postMessage({ type: "closed" })
  }

  async #run(): Promise<void> {
    this.#running = true
    const { scheduler } = this.#engine!
    let lastTurn = performance.now()
    while (scheduler.busy) {
      for (const _ of scheduler.step()) {
        if (performance.now() - lastTurn < TURN_MS) continue
        this.#flush() // of requests that were taken up or dropped in this step
        await turn()
        lastTurn = performance.now()
      }
      this.#flush()
      await turn()
      lastTurn = performance.now()
    }
    this.#running = false
  }

  #flush(): void {
    if (this.#events.length === 0) return
    const { load } = this.#engine!.scheduler
    this.#port.postMessage({ type: "events", events: this.#events, load })
    this.#events = []
  }
}

/** The end of a request that did not begin. */
function failedEnd({ ids }: GenerateRequest, error: unknown): GenerateEvent {
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  const usage = {
    promptTokens: ids.length,
    cachedTokens: 0,
    completionTokens: 0,
    reasoningTokens: 0,
  }
  const timings = { prefillMs: 0, firstTokenMs: 0, decodeMs: 0 }
  const none = { ids: [], text: "", usage, timings }
  return { type: "end", reason: "abort", ...none, error: { name, message } }
}

/** Between layers, messages are let in when the last turn is this long ago. */
const TURN_MS = 5
/** One turn of the event loop, about 2 µs: what has come by postMessage is delivered. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
