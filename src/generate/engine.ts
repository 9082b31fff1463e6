/** The in-process engine: a runtime with its tokenizer and scheduler. Scripts use it directly; the
 *  command line and the server through a Worker (src/engine). */
import { type Conversation, encodePrompt, render, type RenderOptions } from "../chat/index.ts"
import { Grammars, grammarVocabulary } from "../grammar/index.ts"
import type { Config, ShapeName } from "../model/config.ts"
import { shapeName } from "../model/config.ts"
import { kvSizes } from "../model/kv-cache.ts"
import { loadNative } from "../ops/open.ts"
import { type ModelSource, type OpenOptions, openRuntime } from "../session/open.ts"
import type { Runtime } from "../session/runtime.ts"
import { Scheduler } from "../session/scheduler.ts"
import { Session } from "../session/session.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { Generation } from "./generation.ts"
import type { GenerateEnd, GenerateEvent, GenerateRequest } from "./types.ts"
import { tokenizerOf } from "./vocabulary.ts"

/** What a client wants to know of an open engine; plain data. */
export interface EngineInfo {
  name: string
  shape: ShapeName
  backend: string
  context: number
  modelBytes: number
  config: Config
  pageBytes: number
}

type Prompt = Pick<GenerateRequest, "ids" | "format">

export class Engine {
  readonly runtime: Runtime
  readonly tokenizer: Tokenizer
  readonly scheduler: Scheduler
  #grammars: Grammars | null = null

  constructor(runtime: Runtime) {
    this.runtime = runtime
    this.tokenizer = tokenizerOf(runtime.file)
    this.scheduler = new Scheduler(runtime)
  }

  /** open() with the native library loaded first, built if need be: what scripts begin with. */
  static async load(model: ModelSource, options: OpenOptions = {}): Promise<Engine> {
    await loadNative()
    return Engine.open(model, options)
  }

  /** Opens a model file (or bytes) on a backend: `Engine.open({ path: "model.gguf" })`.
   *  @throws GgufError, NativeError, ContextError. */
  static open(model: ModelSource, options: OpenOptions = {}): Engine {
    return new Engine(openRuntime(model, options))
  }

  get info(): EngineInfo {
    const { config, file, backend, context } = this.runtime
    return {
      name: file.metadata.maybeStr("general.name") ?? "unnamed",
      shape: shapeName(config),
      backend: backend.description,
      context,
      modelBytes: file.source.size,
      config,
      pageBytes: kvSizes(config, backend).pageBytes,
    }
  }

  /** A conversation as the prompt of a request:
   *  `engine.generate({ ...engine.prompt({ messages }), maxTokens: 100 })`. */
  prompt(conversation: Conversation, options: RenderOptions = {}): Prompt {
    const ids = encodePrompt(this.tokenizer, render(conversation, options))
    const thinks = conversation.thinking ?? options.thinking ?? true
    return { ids, format: thinks ? "thinking" : "answer" }
  }

  /** Queues a request; events come while the scheduler runs. Returns how to stop it.
   *  @throws SchemaError when its constraint cannot be held to */
  start(request: GenerateRequest, onEvent: (event: GenerateEvent) => void): () => void {
    const job = new Generation(this.tokenizer, request, onEvent, () => this.#grammar())
    this.scheduler.add(job)
    return () => this.scheduler.abort(job)
  }

  /** Made when it is first needed: it takes a look at every token. */
  #grammar(): Grammars {
    return (this.#grammars ??= new Grammars(grammarVocabulary(this.tokenizer)))
  }

  /** Runs one request to its end, in this thread, and returns the last event. */
  generate(request: GenerateRequest, onEvent?: (event: GenerateEvent) => void): GenerateEnd {
    let end: GenerateEnd | undefined
    this.start(request, (event) => {
      if (event.type === "end") end = event
      onEvent?.(event)
    })
    this.scheduler.run()
    return end!
  }

  /** A timeline of token ids for scripts that want the logits. */
  session(): Session {
    return new Session(this.runtime)
  }

  close(): void {
    this.scheduler.close()
    this.runtime.close()
  }
}
