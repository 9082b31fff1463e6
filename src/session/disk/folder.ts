/** The folder of the KV cache: a subfolder for every model, named by its fingerprint, with a file for
 *  every object, named by its key and its parent's. Files appear whole (written beside, synced, renamed)
 *  and are never changed, so any number of processes may share the folder; a file that has gone is a miss.
 *  Only files that bear our names are ever counted or removed. */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  utimesSync,
  write,
} from "node:fs"
import { open, readdir, rmdir, stat, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { FOLDER_DIGITS, type ObjectId, type ObjectKind } from "./format.ts"

/** Calls as the model wrote them, which a server keeps beside (src/server/replay.ts). */
export const CALLS_FILE = "calls.jsonl"

/** A file of the folder. */
export interface Entry {
  path: string
  /** The subfolder: the first digits of the model's fingerprint. */
  model: string
  kind: ObjectKind
  key: string
  parent: string
  bytes: number
  /** Milliseconds since 1970 of the last use. */
  usedAt: number
}

/** What is known of the model of a subfolder. */
export interface AboutModel {
  fingerprint: string
  name: string
  /** Where its file was. */
  file: string
  backend: string
}

export interface Contents {
  entries: Entry[]
  /** Unfinished files. */
  temporary: { path: string; bytes: number; usedAt: number; pid: number }[]
  /** Files in subfolders that are not ours. */
  foreign: string[]
  /** Bytes of everything that is ours. */
  bytes: number
}

const MODEL = new RegExp(`^[0-9a-f]{${FOLDER_DIGITS}}$`)
const OBJECT = /^([0-9a-f]{32})-([0-9a-f]{32})\.(page|point)$/
const TEMPORARY = /^tmp-(\d+)-\d+$/
/** What a person wants to know of a model; written once into its subfolder. */
const ABOUT = "model.json"
/** An unfinished file of this age belongs to nobody; one of a process that is gone, at a lesser age (it
 *  may be of another machine or container). */
const STALE_MS = 3_600_000
const DEAD_MS = 10_000
/** A lock of this age was left behind: nobody evicts for so long. */
const LOCK_MS = 30_000

/** Files looked at together in a scan. */
const SCAN_FILES = 256

const syncFile = promisify(fsync)
const writeBytes = (fd: number, bytes: Uint8Array, from: number, n: number) =>
  new Promise<number>((resolve, reject) => {
    write(fd, bytes, from, n, null, (error, written) => (error ? reject(error) : resolve(written)))
  })

export class KvFolder {
  readonly dir: string

  constructor(dir: string) {
    this.dir = dir
  }

  pathOf({ fingerprint, key, parent, kind }: Omit<ObjectId, "depth">): string {
    return join(this.dir, fingerprint.slice(0, FOLDER_DIGITS), `${key}-${parent}.${kind}`)
  }

  /** Writes a file so that it is there whole or not at all, even after a power cut. The thread pool
   *  moves the data and syncs; what takes microseconds is done here, for the pool's answers are heard only
   *  between layers: seven of them for a file fell behind a model that reads one prompt after the other.
   *  @throws the system's error; nothing is left behind then */
  async write(path: string, bytes: Uint8Array): Promise<void> {
    const folder = dirname(path)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const temporary = join(folder, `tmp-${process.pid}-${Math.floor(Math.random() * 2 ** 48)}`)
    const fd = openSync(temporary, "wx", 0o600)
    try {
      try {
        for (let at = 0; at < bytes.length;)
          at += await writeBytes(fd, bytes, at, bytes.length - at)
        await syncFile(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(temporary, path)
    } catch (error) {
      discard(temporary)
      throw error
    }
  }

  /** Writes down what a subfolder holds, if it is not written yet. */
  async describe(about: AboutModel): Promise<void> {
    const path = join(this.dir, about.fingerprint.slice(0, FOLDER_DIGITS), ABOUT)
    if (isThere(path)) return
    await this.write(path, new TextEncoder().encode(`${JSON.stringify(about, null, 2)}\n`))
  }

  /** What is written about a subfolder. */
  about(model: string): Partial<AboutModel> {
    try {
      const about: unknown = JSON.parse(readFileSync(join(this.dir, model, ABOUT), "utf8"))
      return typeof about === "object" && about !== null ? about : {}
    } catch {
      return {}
    }
  }

  /** Makes the names of a model's files last. */
  async sync(fingerprint: string): Promise<void> {
    let folder: number
    try {
      folder = openSync(join(this.dir, fingerprint.slice(0, FOLDER_DIGITS)), "r")
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return // deleted just now
      throw error
    }
    await syncFile(folder).finally(() => closeSync(folder))
  }

  /** All that is in the folder now; nothing if it cannot be read. */
  async scan(): Promise<Contents> {
    const contents: Contents = { entries: [], temporary: [], foreign: [], bytes: 0 }
    for (const model of await list(this.dir))
      if (MODEL.test(model)) await this.#scanModel(model, contents)
    return contents
  }

  async #scanModel(model: string, contents: Contents): Promise<void> {
    const names = await list(join(this.dir, model))
    for (let from = 0; from < names.length; from += SCAN_FILES) {
      const part = names.slice(from, from + SCAN_FILES)
      const stats = await Promise.all(
        part.map((name) => stat(join(this.dir, model, name)).catch(() => null)),
      )
      part.forEach((name, i) => {
        const { size: bytes, mtimeMs: usedAt } = stats[i] ?? { size: -1, mtimeMs: 0 }
        if (bytes < 0) return
        const path = join(this.dir, model, name)
        const [, key, parent, kind] = name.match(OBJECT) ?? []
        const pid = name.match(TEMPORARY)?.[1]
        if (key) {
          const object = { key, parent: parent!, kind: kind as ObjectKind }
          contents.entries.push({ path, model, ...object, bytes, usedAt })
        } else if (pid) contents.temporary.push({ path, bytes, usedAt, pid: Number(pid) })
        else if (name !== ABOUT) return void contents.foreign.push(path)
        contents.bytes += bytes
      })
    }
  }

  /** Removes unfinished files that nobody writes any more. Returns their bytes. */
  async sweepTemporary({ temporary }: Contents): Promise<number> {
    let bytes = 0
    for (const t of temporary) {
      if (Date.now() - t.usedAt < (isAlive(t.pid) ? STALE_MS : DEAD_MS)) continue
      if (await remove(t.path)) bytes += t.bytes
    }
    return bytes
  }

  /** Removes objects and, when nothing else is left of a model, its subfolder. Returns the bytes. */
  async remove(entries: readonly Entry[]): Promise<number> {
    let bytes = 0
    for (const e of entries) if (await remove(e.path)) bytes += e.bytes
    for (const model of new Set(entries.map((e) => e.model))) {
      const names = await list(join(this.dir, model))
      if (names.some((name) => name !== ABOUT)) continue
      await remove(join(this.dir, model, ABOUT))
      await rmdir(join(this.dir, model)).catch(() => {}) // someone else's again
    }
    return bytes
  }

  /** Does `work` while no other process does; returns whether it was done. Nothing depends on it: two
   *  that evict at once only remove more than they had to. */
  async locked(work: () => Promise<void>): Promise<boolean> {
    const path = join(this.dir, "lock")
    const age = await stat(path).then(
      (s) => Date.now() - s.mtimeMs,
      () => 0,
    )
    if (age > LOCK_MS) await remove(path)
    const taken = await open(path, "wx", 0o600).then(
      (file) => file.close(),
      (error: NodeJS.ErrnoException) => error.code === "EEXIST", // other errors will come again
    )
    if (taken) return false
    try {
      await work()
    } finally {
      await remove(path)
    }
    return true
  }
}

export const isThere = (path: string): boolean => existsSync(path)

/** Says that a file was of use just now. */
export function touch(path: string): void {
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch {
    // gone, or another's: its age is only advice
  }
}

/** A file's bytes if it has exactly so many. Links are not followed. */
export function readExactly(path: string, bytes: number): Uint8Array | "absent" | "wrong" {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ELOOP" ? "wrong" : "absent"
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile() || found.size !== bytes) return "wrong"
    const into = new Uint8Array(bytes)
    let at = 0
    for (let n = 1; at < bytes && n > 0; at += n) n = readSync(fd, into, at, bytes - at, at)
    return at === bytes ? into : "wrong"
  } catch {
    return "absent" // cannot be read now
  } finally {
    closeSync(fd)
  }
}

/** Removes a file that is not what its name says, or not finished. */
export const discard = (path: string): void => {
  try {
    rmSync(path, { force: true })
  } catch {
    // a folder that cannot be written; it will be found wrong again
  }
}

const remove = (path: string): Promise<boolean> =>
  unlink(path).then(
    () => true,
    () => false,
  )

const list = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Whether a process of this machine runs. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
