/** Runtimes with a KV cache on disk, for tests. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Engine } from "../../src/generate/engine.ts"
import type { GenerateRequest } from "../../src/generate/types.ts"
import type { Reuse } from "../../src/session/reuse.ts"
import type { OpenOptions } from "../../src/session/open.ts"
import { Session } from "../../src/session/session.ts"
import { MINI_Q2 } from "./models.ts"

/** A fresh folder that is gone when the process ends. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "ds4-kv-"))
  process.on("exit", () => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Ids that look like a text of their own, BOS first; the first `shared` are those of seed 0. */
export function promptIds(n: number, seed: number, shared = 1): number[] {
  let x = 0
  return Array.from({ length: n }, (_, i) => {
    if (i === 0) x = 7
    if (i === shared) x = 7 + 1000 * seed
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff
    return i === 0 ? 0 : 3 + ((x >>> 8) % 900)
  })
}

export interface DiskOpen extends OpenOptions {
  model?: string
  budget?: number
}

export function openWithDisk(dir: string, options: DiskOpen = {}): Engine {
  const { model = MINI_Q2, budget = 2 ** 30, ...rest } = options
  const disk = { dir, budget }
  return Engine.open({ path: model }, { context: 4096, threads: 1, disk, ...rest })
}

export interface Answered {
  ids: number[]
  cached: number
  reuse: Reuse | undefined
}

/** Greedy answer to a prompt, and how much of it was there already. */
export function ask(engine: Engine, ids: number[], more: Partial<GenerateRequest> = {}): Answered {
  let reuse: Reuse | undefined
  const request: GenerateRequest = { ids, format: "raw", maxTokens: 8, ...more }
  const end = engine.generate({ sampling: { temperature: 0 }, ...request }, (event) => {
    if (event.type === "prefill") reuse ??= event.reuse
  })
  if (end.error) throw new Error(end.error.message)
  return { ids: end.ids, cached: end.usage.cachedTokens, reuse }
}

/** Writes everything wanted, then closes. */
export async function closeSaved(engine: Engine): Promise<void> {
  await engine.save(30_000)
  engine.close()
}

/** A hash of the logits after a prompt, and how many of its tokens were reused. */
export function logitsOf(engine: Engine, ids: number[]): { hash: bigint; cached: number } {
  const session = new Session(engine.runtime)
  for (const _ of engine.runtime.disk?.fetch(session.sequence, ids) ?? []) void _
  const cached = session.sync(ids)
  const { buffer, byteOffset, byteLength } = session.logits
  const hash = Bun.hash.xxHash3(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength))
  session.close()
  return { hash, cached }
}

/** Paths of all objects in a folder, in order. */
export function objectsIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && /\.(page|point)$/.test(e.name))
    .map((e) => join(e.parentPath, e.name))
    .toSorted()
}
