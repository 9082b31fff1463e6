/** `ds4 cache verify`: reads every file whole and says what is wrong. */
import { readFileSync } from "node:fs"
import { chainsOf } from "../session/disk/evict.ts"
import type { Entry } from "../session/disk/folder.ts"
import { decodeObject } from "../session/disk/format.ts"
import type { CacheView } from "./cache.ts"
import { count, size } from "./inspect-print.ts"

interface Problem {
  path: string
  what: string
}

/** Exit code 0 when everything is well, or was put right by --fix; else 1. */
export async function verify({ folder, contents, args, io }: CacheView): Promise<number> {
  const wrong = problemsOf(contents.entries)
  const isFixing = args.flag("fix")
  if (isFixing) {
    const paths = new Set(wrong.map(([entry]) => entry.path))
    await folder.remove(contents.entries.filter((e) => paths.has(e.path)))
    await folder.sweepTemporary(contents)
  }
  const problems = wrong.map(([{ path }, what]): Problem => ({ path, what }))
  const { entries, temporary, foreign } = contents
  if (args.flag("json")) {
    const report = { files: entries.length, problems, removed: isFixing, foreign }
    io.out(`${JSON.stringify(report, null, 2)}\n`)
  } else {
    for (const { path, what } of problems) io.out(`${path}: ${what}\n`)
    const bytes = entries.reduce((sum, e) => sum + e.bytes, 0)
    io.out(
      `${count(entries.length)} files, ${size(bytes)}: ${verdict(problems.length, isFixing)}\n`,
    )
    if (temporary.length > 0) io.out(`${count(temporary.length)} files are unfinished\n`)
    if (foreign.length > 0) io.out(`${count(foreign.length)} files are not ours: left alone\n`)
  }
  return problems.length === 0 || isFixing ? 0 : 1
}

function verdict(nProblems: number, isFixing: boolean): string {
  if (nProblems === 0) return "all is well"
  return `${count(nProblems)} wrong${isFixing ? ", removed" : " (--fix removes them)"}`
}

/** Objects that cannot be used, with the reason. Taking one out can leave others without their parent. */
function problemsOf(entries: readonly Entry[]): [Entry, string][] {
  const problems: [Entry, string][] = []
  const good: Entry[] = []
  const depths = new Map<Entry, number>()
  for (const entry of entries) {
    const { what, depth } = look(entry)
    if (what === undefined) good.push(entry)
    else if (what !== "") problems.push([entry, what])
    depths.set(entry, depth)
  }
  const { nodes, orphans } = chainsOf(good)
  for (const entry of orphans) problems.push([entry, "a page before it is missing"])
  for (const { page, point, depth } of nodes)
    for (const entry of point ? [page, point] : [page])
      if (depths.get(entry) !== depth) problems.push([entry, "its depth is not that of its chain"])
  return problems
}

/** What is wrong with one file; "" when it has gone meanwhile. */
function look(entry: Entry): { what?: string; depth: number } {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(entry.path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { what: code === "ENOENT" ? "" : message, depth: 0 }
  }
  const object = decodeObject(bytes)
  if (typeof object === "string") return { what: object, depth: 0 }
  const { depth } = object
  const isNamed =
    object.key === entry.key && object.parent === entry.parent && object.kind === entry.kind
  if (!isNamed) return { what: "its name is not that of its content", depth }
  if (!object.fingerprint.startsWith(entry.model)) return { what: "it is of another model", depth }
  return { depth }
}
