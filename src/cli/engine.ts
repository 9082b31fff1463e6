/** The engine of a command: a Worker that opens the model, while the main thread reads the tokenizer
 *  from the same file. */
import { EngineClient } from "../engine/client.ts"
import type { EngineInfo } from "../generate/engine.ts"
import type { GenerateRequest } from "../generate/types.ts"
import type { Running } from "../engine/client.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { type Config, readConfig } from "../model/config.ts"
import { loadNative } from "../ops/open.ts"
import { type OpenOptions, openModelFile } from "../session/open.ts"
import { spawnEngine } from "../spawn.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

/** What the main thread knows of a model. */
export interface ModelText {
  tokenizer: Tokenizer
  config: Config
}

/** Reads a model's tokenizer and shape. @throws GgufError, NativeError */
export async function readModelText(path: string): Promise<ModelText> {
  await loadNative()
  const file = openModelFile({ path })
  try {
    return { tokenizer: tokenizerOf(file), config: readConfig(file.metadata) }
  } finally {
    file.source.close()
  }
}

/** A model that answers, and that can be opened again with another context. */
export class ChatEngine {
  readonly path: string
  readonly tokenizer: Tokenizer
  #options: OpenOptions
  readonly #warn: (text: string) => void
  #client: EngineClient

  private constructor(
    path: string,
    tokenizer: Tokenizer,
    options: OpenOptions,
    warn: (text: string) => void,
    client: EngineClient,
  ) {
    this.path = path
    this.tokenizer = tokenizer
    this.#options = options
    this.#warn = warn
    this.#client = client
  }

  /** Opens a model: the Worker first, so that both threads read the file at once.
   *  @throws GgufError, NativeError, ContextError */
  static async open(
    path: string,
    options: OpenOptions,
    warn: (text: string) => void = () => {},
  ): Promise<ChatEngine> {
    const opening = EngineClient.open(spawnEngine(), { path }, options, warn)
    opening.catch(() => {}) // awaited below; an error in reading the text comes first
    const { tokenizer } = await readModelText(path)
    return new ChatEngine(path, tokenizer, options, warn, await opening)
  }

  get info(): EngineInfo {
    return this.#client.info
  }

  generate(request: GenerateRequest): Running {
    return this.#client.generate(request)
  }

  /** Opens the model anew with another context; what it holds of a conversation is lost. When that
   *  fails, it is as it was. @throws ContextError when there is not enough memory. */
  async setContext(context: number): Promise<void> {
    const before = this.#options
    await this.#client.shutdown()
    try {
      await this.#reopen({ ...before, context })
    } catch (error) {
      await this.#reopen(before)
      throw error
    }
  }

  async #reopen(options: OpenOptions): Promise<void> {
    const model = { path: this.path }
    this.#client = await EngineClient.open(spawnEngine(), model, options, this.#warn)
    this.#options = options
  }

  /** Lets the engine write what is pending, for a few seconds at most. */
  async close(): Promise<void> {
    await this.#client.shutdown()
  }
}
