/** `ds4 cache ls | rm | verify | stats`: the KV cache on disk, seen from outside. Servers may run
 *  meanwhile: what goes away under them is a miss. */
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Io } from "../cli/io.ts"
import { DEFAULT_KV_SPACE, kvDirectory } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { CliError } from "../errors.ts"
import { loadNative } from "../ops/open.ts"
import { CALLS_FILE, type Contents, type Entry, KvFolder } from "../session/disk/folder.ts"
import { type Conversation, conversationsOf, openTexts } from "./cache-conversations.ts"
import { verify } from "./cache-verify.ts"
import { count, size, table } from "./inspect-print.ts"

/** What a subcommand works on. */
export interface CacheView {
  folder: KvFolder
  /** Objects of the models asked for. */
  contents: Contents
  args: Args
  io: Io
}

const ACTIONS: Record<string, (view: CacheView) => Promise<number>> = { ls, rm, verify, stats }
/** Digits of a key that are shown. */
const SHOWN_DIGITS = 12
/** Digits of a key that must be given. */
const LEAST_DIGITS = 4

export async function run(args: Args, io: Io): Promise<number> {
  const [name = "", ...keys] = args.positional
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
  if (!action)
    throw new CliError("ds4 cache needs one of ls, rm, verify, stats: see ds4 cache --help")
  if (name !== "rm" && keys.length > 0)
    throw new CliError(
      `ds4 cache ${name} cannot use ${JSON.stringify(keys[0])}: see ds4 cache --help`,
    )
  const folder = new KvFolder(kvDirectory(args, io))
  const contents = await folder.scan()
  const models = modelsAsked(folder, contents, args, io)
  const entries = contents.entries.filter((e) => models.has(e.model))
  return action({ folder, contents: { ...contents, entries }, args, io })
}

/** The subfolders that --model means; all of them without it. */
function modelsAsked(folder: KvFolder, { entries }: Contents, args: Args, io: Io): Set<string> {
  const all = new Set(entries.map((e) => e.model))
  const wanted = args.text("model")
  if (wanted === undefined) return all
  const path = io.resolvePath(wanted)
  const isMeant = (model: string) => {
    const { name, file } = folder.about(model)
    return model.startsWith(wanted) || name?.toLowerCase() === wanted.toLowerCase() || file === path
  }
  const found = [...all].filter(isMeant)
  if (found.length === 0)
    throw new CliError(`Nothing of a model ${JSON.stringify(wanted)} is kept: see ds4 cache stats`)
  return new Set(found)
}

async function ls({ folder, contents, args, io }: CacheView): Promise<number> {
  await loadNative()
  const texts = openTexts(folder)
  const found = conversationsOf(contents.entries).toSorted((a, b) => b.usedAt - a.usedAt)
  const rows = found.map((c) => ({
    key: c.key.slice(0, SHOWN_DIGITS),
    model: folder.about(c.model).name ?? c.model,
    tokens: c.tokens,
    bytes: c.bytes,
    used: new Date(c.usedAt).toISOString(),
    text: texts(c),
  }))
  if (args.flag("json")) {
    io.out(`${JSON.stringify(rows, null, 2)}\n`)
    return 0
  }
  if (rows.length === 0) {
    io.out(`Nothing is kept in ${folder.dir}\n`)
    return 0
  }
  const lines = rows.map((r, i) => [
    r.key,
    count(r.tokens),
    size(r.bytes),
    ago(Date.now() - found[i]!.usedAt),
    r.text || io.colors.dim(r.model),
  ])
  // What conversations share is freed with the last of them.
  io.out(`${table(["key", "tokens", "rm frees", "last used", "begins"], lines, io.colors)}\n`)
  return 0
}

async function rm({ folder, contents, args, io }: CacheView): Promise<number> {
  const keys = args.positional.slice(1)
  const isWhole = args.flag("all") || (keys.length === 0 && args.text("model") !== undefined)
  if (keys.length === 0 && !isWhole)
    throw new CliError("ds4 cache rm needs keys as ds4 cache ls shows them, --model or --all")
  if (keys.length > 0 && args.flag("all"))
    throw new CliError("ds4 cache rm takes keys or --all, not both")
  const entries = isWhole ? contents.entries : chosen(conversationsOf(contents.entries), keys)
  let bytes = await folder.remove(entries)
  if (args.flag("all")) {
    bytes += await folder.sweepTemporary(contents)
    rmSync(join(folder.dir, CALLS_FILE), { force: true })
  }
  io.out(`Removed ${size(bytes)} in ${count(entries.length)} files\n`)
  return 0
}

/** The objects that only the named conversations need. @throws CliError for a key of none, or of two */
function chosen(all: readonly Conversation[], keys: readonly string[]): Entry[] {
  const entries = new Set<Entry>()
  for (const key of keys) {
    if (key.length < LEAST_DIGITS || !/^[0-9a-f]+$/.test(key))
      throw new CliError(`${JSON.stringify(key)} is no key: give at least ${LEAST_DIGITS} digits`)
    const found = all.filter((c) => c.key.startsWith(key))
    if (found.length === 0) throw new CliError(`There is no conversation ${key}: see ds4 cache ls`)
    if (found.length > 1)
      throw new CliError(`${found.length} keys begin with ${key}: give more digits`)
    for (const e of found[0]!.entries) entries.add(e)
  }
  return [...entries]
}

async function stats({ folder, contents, args, io }: CacheView): Promise<number> {
  const models = Map.groupBy(contents.entries, (e) => e.model)
  const report = {
    dir: folder.dir,
    budget: args.number("kvSpace") ?? DEFAULT_KV_SPACE,
    bytes: contents.bytes,
    unfinished: contents.temporary.length,
    models: [...models].map(([id, entries]) => modelStats(folder, id, entries)),
  }
  if (args.flag("json")) {
    io.out(`${JSON.stringify(report, null, 2)}\n`)
    return 0
  }
  const used = ((100 * report.bytes) / Math.max(report.budget, 1)).toFixed(0)
  io.out(`${io.colors.bold(report.dir)}\n`)
  io.out(`${size(report.bytes)} of ${size(report.budget)} (${used} %)\n`)
  if (!existsSync(folder.dir)) io.out("The folder is not there yet\n")
  if (report.models.length === 0) return 0
  const head = ["id", "model", "backend", "size", "pages", "resume points", "conversations"]
  const rows = report.models.map((m) => [
    m.id,
    m.name,
    m.backend,
    size(m.bytes),
    count(m.pages),
    count(m.points),
    count(m.conversations),
  ])
  io.out(`\n${table(head, rows, io.colors)}\n`)
  return 0
}

function modelStats(folder: KvFolder, id: string, entries: readonly Entry[]) {
  const { name = "unknown", backend = "unknown", file = null } = folder.about(id)
  return {
    id,
    name,
    backend,
    file,
    bytes: entries.reduce((sum, e) => sum + e.bytes, 0),
    pages: entries.filter((e) => e.kind === "page").length,
    points: entries.filter((e) => e.kind === "point").length,
    conversations: conversationsOf(entries).length,
  }
}

const STEPS: [ms: number, name: string][] = [
  [86_400_000, "day"],
  [3_600_000, "hour"],
  [60_000, "minute"],
]

/** `3 hours ago`. */
export function ago(ms: number): string {
  for (const [unit, name] of STEPS) {
    const n = Math.floor(ms / unit)
    if (n >= 1) return `${n} ${name}${n === 1 ? "" : "s"} ago`
  }
  return "just now"
}
