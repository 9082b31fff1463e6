import { existsSync } from "node:fs"
import { resolve } from "node:path"

let said = false

/** The folder of full golden data: `DS4_SHARED`, or `../shared` beside the repository. Tests that
 *  need it skip where it is not; that is said once. */
export function sharedDir(): string | undefined {
  const path = process.env["DS4_SHARED"] || resolve(import.meta.dir, "../../shared")
  if (existsSync(path)) return path
  if (!said) console.log(`No full goldens at ${path} (DS4_SHARED): those tests are skipped`)
  said = true
  return undefined
}
