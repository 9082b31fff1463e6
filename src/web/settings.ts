/** What people set: kept in the browser, and turned into fields of a request. A field that is empty is
 *  left to the server. */

const NUMBERS = ["temperature", "top_p", "min_p", "seed", "max_tokens"] as const
const ALL = ["thinking", ...NUMBERS, "system", "theme"] as const
const KEY = "ds4.settings"

const input = (id: string) => document.getElementById(id) as HTMLInputElement

/** Fields of a request, beside its messages. */
export function requestFields(): Record<string, unknown> {
  const filled = NUMBERS.flatMap((id) => {
    const value = input(id).value
    return value === "" ? [] : [[id, Number(value)] as const]
  })
  return { reasoning_effort: input("thinking").value, ...Object.fromEntries(filled) }
}

export const systemText = (): string => input("system").value

/** The key of a server that wants one. */
export function keyHeader(): Record<string, string> {
  const key = input("key").value
  return key === "" ? {} : { authorization: `Bearer ${key}` }
}

/** Fills the fields with what they had and keeps what they get; the key only until the tab is closed. */
export function keepSettings(onKey: () => void): void {
  const saved = read(localStorage)
  for (const id of ALL) {
    if (saved[id] !== undefined) input(id).value = saved[id]
    input(id).addEventListener("change", () => {
      write(localStorage, Object.fromEntries(ALL.map((name) => [name, input(name).value])))
      showTheme()
    })
  }
  input("key").value = read(sessionStorage)["key"] ?? ""
  input("key").addEventListener("change", () => {
    write(sessionStorage, { key: input("key").value })
    onKey()
  })
  showTheme()
}

const showTheme = () => (document.documentElement.dataset["theme"] = input("theme").value)

function read(storage: Storage): Record<string, string> {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "{}") as Record<string, string>
  } catch {
    return {}
  }
}

function write(storage: Storage, values: Record<string, string>): void {
  try {
    storage.setItem(KEY, JSON.stringify(values))
  } catch {
    // Full or forbidden: the settings last as long as the page.
  }
}
