/** What DeepSeek's own encoder made of conversations and outputs; see tests/golden. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { sharedDir } from "../shared.ts"

const LOCAL = join(import.meta.dir, "../golden/chat")

/** The lines of a golden file of the repository. Only "\n" ends a line. */
export function localLines(name: string): string[] {
  return read(join(LOCAL, name))
}

/** The lines of the full golden file, undefined where the shared folder is not. */
export function fullLines(name: string): string[] | undefined {
  const shared = sharedDir()
  return shared === undefined ? undefined : read(join(shared, "golden/chat", name))
}

const read = (path: string): string[] => readFileSync(path, "utf8").split("\n").filter(Boolean)

export interface RenderCase {
  id: string
  about: string
  options: {
    encoder: "v4" | "v4-0731"
    thinking_mode: string
    effort: string | null
    drop_thinking: boolean
    add_bos: boolean
  }
  text?: string
  error?: string
  plain?: number[]
}

export interface ParseCase {
  id: string
  about: string
  form: "well" | "odd" | "bad"
  thinking: boolean
  output: string
  result?: {
    content: string
    reasoning_content: string
    tool_calls: { type: "function"; function: { name: string; arguments: string } }[]
  }
  error?: string
}
