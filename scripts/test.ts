/** `bun run test`: fetches packages and builds the native library if need be, runs the test suite, and
 *  ends with a line "N passed, N failed". Arguments are passed on to `bun test`. */
import { existsSync } from "node:fs"
import { join } from "node:path"

const ROOT = join(import.meta.dir, "..")

/** Runs a command in the repository; returns its exit code and passes on what it prints. */
async function run(cmd: string[], onText?: (text: string) => void): Promise<number> {
  const child = Bun.spawn(cmd, { cwd: ROOT, stdout: "pipe", stderr: "pipe" })
  const pump = async (from: ReadableStream<Uint8Array>, to: NodeJS.WriteStream) => {
    const decoder = new TextDecoder()
    for await (const chunk of from) {
      to.write(chunk)
      onText?.(decoder.decode(chunk, { stream: true }))
    }
  }
  await Promise.all([pump(child.stdout, process.stdout), pump(child.stderr, process.stderr)])
  return child.exited
}

async function main(): Promise<number> {
  const bun = process.execPath
  if (!existsSync(join(ROOT, "node_modules/fast-check"))) {
    const code = await run([bun, "install", "--frozen-lockfile"])
    if (code !== 0) return code
  }
  const { ensureNativeLibrary } = await import("../ffi/build.ts")
  await ensureNativeLibrary({ onProgress: (line) => console.error(line) })
  let output = ""
  const code = await run(
    [bun, "test", "--timeout", "120000", ...process.argv.slice(2)],
    (text) => (output += text),
  )
  const count = (word: string) =>
    [...output.matchAll(new RegExp(`^\\s*(\\d+) ${word}$`, "gm"))].reduce((n, m) => n + +m[1]!, 0)
  const failed = count("fail") || (code === 0 ? 0 : 1)
  console.log(`${count("pass")} passed, ${failed} failed`)
  return code
}

process.exit(await main())
