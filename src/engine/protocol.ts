/** Messages between the main thread and the engine's Worker. */
import type { EngineInfo } from "../generate/engine.ts"
import type { GenerateEvent, GenerateRequest } from "../generate/types.ts"
import type { Load } from "../session/scheduler.ts"
import type { ModelSource, OpenOptions } from "../session/open.ts"

export type ToEngine =
  | { type: "open"; model: ModelSource; options: OpenOptions }
  | { type: "generate"; id: number; request: GenerateRequest }
  | { type: "abort"; id: number }
  /** Ends all requests, writes what is pending within so many milliseconds, and answers. */
  | { type: "close"; limitMs: number }

export type FromEngine =
  | { type: "ready"; info: EngineInfo }
  | { type: "failed"; error: { name: string; message: string } }
  /** All that happened in one step, in order, and what there is to do after it. */
  | { type: "events"; events: [id: number, event: GenerateEvent][]; load: Load }
  /** Something the user should know, that stops nothing. */
  | { type: "warning"; text: string }
  | { type: "closed" }
