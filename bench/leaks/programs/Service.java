import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * A service with tunable memory, in Java. Arguments: key=value, sizes in KiB, times in seconds; see ../plan.py.
 * It behaves like service.py; garbage is left to the JVM. With native=1 the leak is in direct buffers.
 */
public final class Service {
    private static final int UNIT = 16;
    private static final Map<String, String> P = new HashMap<>();
    private static Random rng;
    private static volatile Object sink;

    private static double value(String key, double or) {
        return P.containsKey(key) ? Double.parseDouble(P.get(key)) : or;
    }

    private static double size(String key) {
        return value(key, 0) / UNIT;
    }

    private static byte[] chunk() {
        return new byte[UNIT * 1024 - 16];
    }

    private static void resize(List<Object> held, double units) {
        while (held.size() < Math.floor(units)) held.add(chunk());
        while (held.size() > units) {
            int at = rng.nextInt(held.size());
            held.set(at, held.get(held.size() - 1));
            held.remove(held.size() - 1);
        }
    }

    private static Object direct() {
        ByteBuffer buffer = ByteBuffer.allocateDirect(UNIT * 1024 - 64);
        for (int i = 0; i < buffer.capacity(); i += 1024) buffer.put(i, (byte) 1);
        return buffer;
    }

    public static void main(String[] args) throws InterruptedException {
        for (String word : args) P.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));
        rng = new Random(Long.parseLong(P.get("seed")));
        List<Object> base = new ArrayList<>(), warm = new ArrayList<>(), held = new ArrayList<>(), pool = new ArrayList<>(),
            batch = new ArrayList<>(), step = new ArrayList<>(), leaked = new ArrayList<>();
        LinkedHashMap<Integer, Object> cache = new LinkedHashMap<>(16, 0.75f, true);
        long start = System.nanoTime();
        double last = 0, noise = 0, pending = 0, garbage = 0, leakDebt = 0;
        resize(base, size("base"));
        while (true) {
            Thread.sleep(50);
            double t = (System.nanoTime() - start) / 1e9, dt = t - (last > 0 ? last : t);
            last = t;
            noise = 0.9 * noise + 0.1 * rng.nextGaussian();
            double load = Math.max(0.05, 1 + value("day", 0)
                * Math.sin(2 * Math.PI * (t / value("period", 24) + value("phase", 0))) + value("noise", 0) * noise);
            resize(warm, size("warm") * (1 - Math.exp(-t / value("warm_tau", 1))));
            resize(held, size("hold") * load);
            resize(pool, Math.max(pool.size(), Math.floor(size("pool") * Math.min(load, 1.6) / 1.6)));
            for (pending += size("cache_rate") * load * dt; pending >= 1; pending--) {
                int key = (int) (size("cache_keys") * Math.pow(rng.nextDouble(), value("skew", 1)));
                if (cache.get(key) == null) cache.put(key, chunk());
                if (cache.size() > size("cache")) cache.remove(cache.keySet().iterator().next());
            }
            double every = value("batch_every", 0);
            boolean running = every > 0 && (t + every * value("batch_phase", 0)) % every < value("batch_len", 0);
            resize(batch, running ? Math.min(size("batch"), batch.size() + size("batch") * dt * 3 / value("batch_len", 1)) : 0);
            if (value("step_at", 0) > 0 && t >= value("step_at", 0)) resize(step, size("step"));
            for (garbage += size("garbage") * load * dt; garbage >= 1; garbage--) sink = chunk();
            if (value("leak", 0) > 0 && t >= value("leak_at", 0)) {
                leakDebt += size("leak") * dt * (value("leak_traffic", 0) > 0 ? load : 1);
                if (leakDebt >= Math.max(1, value("leak_every", 0) * size("leak"))) {
                    for (int i = 0; i < (int) leakDebt; i++) leaked.add(value("native", 0) > 0 ? direct() : chunk());
                    leakDebt -= (int) leakDebt;
                }
            }
        }
    }
}
