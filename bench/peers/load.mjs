// Load for a queue whose clients are written for node: one run of one scenario, told in one line, as bench/driver.cpp
// does. What a system is, its module says: open(options) returns
//
//   enqueue(payloads)         adds one or more jobs
//   round()                   claims and acks a batch, returns their number; for systems that are asked for jobs
//   ready()                   the number of jobs that wait to be claimed
//   settle()                  after it was filled with a backlog; need not be
//   start(onJob, onDone)      calls onJob(payload) for each job, onDone(payload) when it is acked; for those that push
//   close()
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'

const defaults = { system: '', scenario: 'claim_ack', batch: 1, clients: 1, seconds: 1, backlog: 0, rate: 0, server: 0, detail: '' }
const options = { ...defaults }
for (const word of process.argv.slice(2)) {
	const [name, value] = word.split('=')
	if (!(name in defaults)) throw new Error(`unknown argument: ${name}`)
	options[name] = typeof defaults[name] === 'number' ? Number(value) : value
}

// The payload of bench/system.hpp; "at" tells jobs apart, or when they were sent.
export const payload = (at) => ({ type: 'mail', to: 'ada.lovelace@example.org', template: 'order-shipped', locale: 'en-GB',
	order: 4815162342, link: 'https://shop.example.org/orders/4815162342/track?key=9f86d081884c7d659a2f', at })
const payloads = (count) => Array.from({ length: count }, () => payload(0))
const now = () => Number(process.hrtime.bigint()) / 1e3 // µs

// ---- Processor time, in seconds ----

const tick = 100 // a second, on all Linux systems there are
function processOf(pid) {
	const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ').map(Number)
	return { parent: fields[1], own: (fields[11] + fields[12]) / tick, ended: (fields[13] + fields[14]) / tick }
}

function cpu() {
	const server = processOf(options.server)
	let sum = server.own + server.ended
	for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
		try {
			const child = processOf(pid)
			if (child.parent === options.server) sum += child.own
		} catch { /* it has ended */ }
	}
	const machine = readFileSync('/proc/stat', 'utf8').split('\n')[0].split(/ +/).slice(1, 9).map(Number)
	const self = process.cpuUsage()
	return { server: sum, driver: (self.user + self.system) / 1e6,
		machine: machine.reduce((all, time, i) => all + (i === 3 || i === 4 ? 0 : time), 0) / tick }
}

// ---- The scenarios: each client repeats a round until the end ----

const system = await (await import(`./${options.system.replace(/_everysec$/, '')}.mjs`)).open(options)
const latencies = []
let jobs = 0, stop = false, begin = 0
const course = []
function count(number) {
	jobs += number
	const at = Math.max(0, Math.floor((now() - begin) / 250e3))
	course[at] = (course[at] ?? 0) + number
}

async function repeat(round) {
	while (!stop) {
		const start = now()
		const done = await round()
		if (done === 0) stop = true
		latencies.push(now() - start)
		count(done)
	}
}

const waiting = new Map() // whom the end of a job concerns
let sequence = 0
async function cycle() {
	const id = ++sequence
	const done = new Promise((resolve) => waiting.set(id, resolve))
	await system.enqueue([payload(id)])
	await done
	return 1
}

async function produce() {
	for (let next = now(); !stop; next = Math.max(next + 1e6 / options.rate, now())) {
		await sleep(Math.max(0, (next - now()) / 1e3))
		await system.enqueue([payload(now())])
	}
}

// Of the backlog some jobs are gone before it is measured: whoever is told of jobs needs time to begin.
const repeatAll = (round) => Promise.all(Array.from({ length: options.clients }, () => repeat(round)))
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const until = async (condition) => { while (!condition()) await sleep(2) }
const noMatter = () => {}
const scenarios = {
	enqueue: [noMatter, () => repeatAll(async () => (await system.enqueue(payloads(options.batch)), options.batch))],
	claim_ack: system.round ? [system.round, () => repeatAll(system.round)]
		: [async () => {
			await system.start(noMatter, () => count(1))
			await until(() => jobs > 0)
		}, () => until(() => stop || jobs >= options.backlog - 1)],
	cycle: system.round
		? [noMatter, () => repeatAll(async () => (await system.enqueue([payload(0)]), await system.round(), 1))]
		: [() => system.start(noMatter, (job) => waiting.get(job.at)?.()), () => repeatAll(cycle)],
	receive: [() => system.start((job) => (latencies.push(now() - job.at), count(1)), noMatter),
		() => options.rate ? produce() : until(() => stop)]
}
const [prepare, body] = scenarios[options.scenario]

if (options.backlog > 0) {
	for (let left = options.backlog - await system.ready(); left > 0; left -= 1000) await system.enqueue(payloads(Math.min(left, 1000)))
	await system.settle?.()
}
if (options.scenario === 'enqueue') for (let i = 0; i < 20; i++) await system.enqueue(payloads(options.batch))
await prepare()
const before = cpu()
const jobsBefore = jobs
begin = now()
course.length = 0
setTimeout(() => { stop = true }, options.seconds * 1000)
await body()
const elapsed = (now() - begin) / 1e6
const after = cpu()
jobs -= jobsBefore

// ---- One line ----

latencies.sort((a, b) => a - b)
const quantile = (share) => Math.round(latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ?? 0)
const used = Object.fromEntries(Object.keys(after).map((name) => [name, after[name] - before[name]]))
const each = Math.max(jobs, 1)
console.log(`system=${options.system} scenario=${options.scenario} batch=${options.batch} clients=${options.clients} snapshot=0 ` +
	`jobs=${jobs} seconds=${elapsed.toFixed(3)} rate=${Math.round(jobs / elapsed)} p50_us=${quantile(0.5)} p99_us=${quantile(0.99)} ` +
	`max_us=${quantile(1)} wal_bytes=0 dead=0 cpu_us=${(used.server * 1e6 / each).toFixed(2)} ` +
	`server_ms_s=${(used.server * 1e3 / elapsed).toFixed(1)} driver_cpu_us=${(used.driver * 1e6 / each).toFixed(2)} ` +
	`others_percent=${Math.round(100 * Math.max(0, used.machine - used.server - used.driver) / (elapsed * cpus().length))}`)
if (options.detail) {
	writeFileSync(options.detail, course.slice(0, -1).map((number, i) => `t ${i / 4} ${(number ?? 0) * 4}\n`).join('') +
		latencies.map((us) => `l ${us.toFixed(1)} 1\n`).join(''))
}
await Promise.race([system.close(), new Promise((resolve) => setTimeout(resolve, 3000))])
process.exit(0)
