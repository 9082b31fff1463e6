import { existsSync } from "node:fs"
import { join, resolve } from "node:path"

/** The folder with the full goldens: env DS4_SHARED, else ../shared beside the repository, else
 *  undefined (then a test skips and says so). */
export function sharedDir(): string | undefined {
  const dir = process.env.DS4_SHARED ?? resolve(import.meta.dir, "../../shared")
  return existsSync(join(dir, "golden")) ? dir : undefined
}
