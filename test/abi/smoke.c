/* Energy, forces and virial of a structure across the C ABI: smoke MODEL.json STRUCTURE.xyz */
#include "acerust.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-10

static void check(int32_t status, const char *call, int line)
{
    if (status != ACERUST_OK) {
        char message[1024];
        acerust_last_error(message, sizeof message);
        fprintf(stderr, "smoke.c:%d: %s: status %d: %s\n", line, call, (int)status, message);
        exit(1);
    }
}

static void require(int condition, const char *what, int line)
{
    if (!condition) {
        fprintf(stderr, "smoke.c:%d: %s\n", line, what);
        exit(1);
    }
}

#define OK(call) check((call), #call, __LINE__)
#define REQUIRE(condition) require((condition), #condition, __LINE__)

typedef struct {
    size_t n;
    int32_t *numbers, pbc[3];
    double *positions, *forces, cell[9], energy, virial[9];
} Atoms;

static void read_numbers(const char *line, const char *key, double *out, int n)
{
    const char *at = strstr(line, key);
    char *end;
    int k;
    REQUIRE(at != NULL);
    at += strlen(key);
    for (k = 0; k < n; k++, at = end) {
        out[k] = strtod(at, &end);
        REQUIRE(end != at);
    }
}

/* Silicon only, in the columns and keys that test/capi/smoke.rs writes. */
static Atoms read_atoms(const char *path)
{
    Atoms atoms;
    char line[4096];
    unsigned long n;
    size_t i;
    int k;
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    REQUIRE(fgets(line, sizeof line, file) && sscanf(line, "%lu", &n) == 1);
    atoms.n = n;
    atoms.numbers = (int32_t *)malloc(n * sizeof *atoms.numbers);
    atoms.positions = (double *)malloc(3 * n * sizeof *atoms.positions);
    atoms.forces = (double *)malloc(3 * n * sizeof *atoms.forces);
    REQUIRE(fgets(line, sizeof line, file) != NULL);
    read_numbers(line, "Lattice=\"", atoms.cell, 9);
    read_numbers(line, " energy=", &atoms.energy, 1);
    read_numbers(line, "virial=\"", atoms.virial, 9);
    for (k = 0; k < 3; k++)
        atoms.pbc[k] = 1;
    for (i = 0; i < n; i++) {
        double *x = atoms.positions + 3 * i, *f = atoms.forces + 3 * i;
        REQUIRE(fgets(line, sizeof line, file) != NULL);
        REQUIRE(sscanf(line, "Si %lf %lf %lf %lf %lf %lf", x, x + 1, x + 2, f, f + 1, f + 2) == 6);
        atoms.numbers[i] = 14;
    }
    fclose(file);
    return atoms;
}

static void compare(const char *what, const double *found, const double *expected, size_t n)
{
    double largest = 0, error = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        REQUIRE(isfinite(found[i]));
        largest = fmax(largest, fabs(expected[i]));
        error = fmax(error, fabs(found[i] - expected[i]));
    }
    printf("  %-8s error %.1e\n", what, error / largest);
    REQUIRE(error <= TOLERANCE * largest);
}

int main(int argc, char **argv)
{
    acerust_model *model = NULL;
    acerust_plan *plan = NULL;
    acerust_graph *graph = NULL;
    acerust_options options;
    acerust_input input, on_graph;
    acerust_outputs outputs;
    Atoms a;
    double energy, virial[9], *forces;
    char message[256];
    int32_t rebuilt, status;
    size_t needed;

    REQUIRE(argc == 3);
    REQUIRE(acerust_abi_version() == ACERUST_ABI_VERSION);
    a = read_atoms(argv[2]);
    forces = (double *)malloc(3 * a.n * sizeof *forces);

    OK(acerust_model_load(argv[1], &model));
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.n_threads = 1;
    OK(acerust_plan_new(model, ACERUST_CPU, 0, ACERUST_F64, &options, &plan));
    OK(acerust_model_free(model));

    printf("acerust %s from C, a structure of %lu atoms\n", acerust_version(), (unsigned long)a.n);
    memset(&input, 0, sizeof input);
    input.size = sizeof input;
    input.n_atoms = a.n;
    input.numbers = a.numbers;
    input.positions = a.positions;
    input.cell = a.cell;
    input.pbc = a.pbc;
    memset(&outputs, 0, sizeof outputs);
    outputs.size = sizeof outputs;
    outputs.energy = &energy;
    outputs.forces = forces;
    outputs.n_forces = 3 * a.n;
    outputs.virial = virial;
    outputs.n_virial = 9;
    OK(acerust_evaluate(plan, &input, &outputs));
    compare("energy", &energy, &a.energy, 1);
    compare("forces", forces, a.forces, 3 * a.n);
    compare("virial", virial, a.virial, 9);

    printf("on a graph with a skin\n");
    OK(acerust_graph_build(a.n, a.numbers, a.positions, a.cell, a.pbc, 6.0, 0.5, 1, &graph));
    OK(acerust_graph_update(graph, a.n, a.numbers, a.positions, a.cell, a.pbc, &rebuilt));
    REQUIRE(rebuilt == 0);
    memset(&on_graph, 0, sizeof on_graph);
    on_graph.size = sizeof on_graph;
    on_graph.graph = graph;
    OK(acerust_evaluate(plan, &on_graph, &outputs));
    compare("energy", &energy, &a.energy, 1);
    compare("forces", forces, a.forces, 3 * a.n);
    compare("virial", virial, a.virial, 9);

    a.numbers[3] = 8;
    status = acerust_evaluate(plan, &input, &outputs);
    REQUIRE(status == ACERUST_ERROR_ARGUMENT);
    needed = acerust_last_error(message, sizeof message);
    REQUIRE(needed == strlen(message) + 1);
    REQUIRE(strcmp(message, "argument: atom 3 is O; the model knows Si") == 0);
    REQUIRE(acerust_evaluate(NULL, &input, &outputs) == ACERUST_ERROR_HANDLE);
    outputs.forces = a.positions;
    REQUIRE(acerust_evaluate(plan, &input, &outputs) == ACERUST_ERROR_ARGUMENT);

    OK(acerust_graph_free(graph));
    OK(acerust_plan_free(plan));
    REQUIRE(acerust_plan_free(plan) == ACERUST_ERROR_HANDLE);
    free(a.numbers);
    free(a.positions);
    free(a.forces);
    free(forces);
    printf("OK\n");
    return 0;
}
