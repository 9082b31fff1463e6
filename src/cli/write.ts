/** Writing to the process's own streams, at once and whole: a slow reader of a pipe slows us down, and
 *  nothing is left behind when the process ends. Imports nothing from npm: the entry uses it too. */
import { writeSync } from "node:fs"

const STDERR = 2
const RETRY_MS = 1

/** The reader of stdout has gone. There is nobody left to tell, so the program ends quietly. */
export class OutputClosed extends Error {
  override name = "OutputClosed"
}

/** Writes a text to a file descriptor. @throws OutputClosed */
export function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text)
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === "EAGAIN") Bun.sleepSync(RETRY_MS)
      else if (fd === STDERR) return
      else if (code === "EPIPE" || code === "EBADF") throw new OutputClosed("stdout is closed")
      else throw error
    }
  }
}
