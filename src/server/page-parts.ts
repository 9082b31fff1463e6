/** A macro: what the page is made of, put into the code that asks for it when that code is translated.
 *  So a compiled executable has the page in it, and a checkout reads it when it is first asked for. */
import { readFileSync } from "node:fs"
import { join } from "node:path"

const WEB = join(import.meta.dir, "../web")

export interface PageParts {
  document: string
  style: string
  /** All of src/web/app.ts and what it imports, for a browser. */
  script: string
}

/** @throws Error with what the bundler says */
export function pageParts(): PageParts {
  const text = (name: string) => readFileSync(join(WEB, name), "utf8")
  // Bun.build would wait for the bundler that waits for this macro.
  const command = [process.execPath, "build", join(WEB, "app.ts"), "--target=browser", "--minify"]
  const { stdout, stderr, success } = Bun.spawnSync(command)
  if (!success) throw new Error(`Cannot bundle the page: ${stderr}`)
  return { document: text("index.html"), style: text("style.css"), script: `${stdout}` }
}
