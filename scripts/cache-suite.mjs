// What cache-suite.sh has done in JavaScript, as the suite judges its results in it.
//   wait URL        until something answers there, 10 s at most
//   judge SUITE OUT  OUT/results.json by the suite's own rules
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

// What the node must reach. required and optional are tests that passed, the others such that did not for that reason.
const promised = { required: 158, optimal: 98, failed: 0, dependency: 0, retry: 0 }

async function wait (url) {
  for (const end = Date.now() + 10_000; ;) {
    try {
      await fetch(url)
      return
    } catch (err) {
      if (Date.now() > end) throw err
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

async function judge (suite, out) {
  const load = async file => import(pathToFileURL(resolve(suite, file)))
  const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
  const tests = (await load('tests/index.mjs')).default
  const results = JSON.parse(readFileSync(resolve(out, 'results.json')))
  const names = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]))
  const count = { required: 0, optimal: 0, check: 0, failed: 0, missed: 0, no: 0, setup: 0, dependency: 0, retry: 0, harness: 0 }
  const list = []
  for (const group of tests) {
    for (const test of group.tests) {
      if (test.browser_only) continue
      const kind = test.kind ?? 'required'
      const result = names.get(determineTestResult(tests, test.id, results, false))
      const column = {
        pass: kind, yes: 'check', fail: 'failed', optional_fail: 'missed', no: 'no', setup_fail: 'setup', dependency_fail: 'dependency', retry: 'retry', harness_fail: 'harness'
      }[result]
      if (!column) continue // not for a reverse proxy, or not run
      count[column]++
      if (!['pass', 'yes', 'no'].includes(result)) list.push({ id: test.id, kind, result, why: results[test.id]?.[1] ?? '' })
    }
  }
  writeFileSync(resolve(out, 'summary.json'), JSON.stringify({ count, list }, null, 2) + '\n')
  for (const { id, kind, result, why } of list) console.log(`  ${result.padEnd(15)} ${kind.padEnd(8)} ${id}  ${why}`)
  console.log(`required ${count.required} passed, ${count.failed} failed; optimal ${count.optimal} passed, ${count.missed} missed; ` +
    `checks ${count.check} yes, ${count.no} no; setup ${count.setup}, dependency ${count.dependency}, retry ${count.retry}, harness ${count.harness}`)
  const short = Object.entries(promised).filter(([name, n]) => name === 'required' || name === 'optimal' ? count[name] < n : count[name] > n)
  for (const [name, n] of short) console.log(`short of what is promised: ${name} ${count[name]}, promised ${n}`)
  if (short.length > 0) process.exitCode = 1
}

const [verb, ...args] = process.argv.slice(2)
await ({ wait, judge })[verb](...args)
